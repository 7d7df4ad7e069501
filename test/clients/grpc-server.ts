/** A gRPC server with one method of each kind, made with @grpc/grpc-js. Messages are plain bytes: what they mean is not gRPC's matter. */
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  status,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { certificate } from "../kit/certificates.ts";
import { UPSTREAM_ADDRESS } from "./upstream.ts";

/** Path of a method. */
export const methodPath = (name: string): string => `/outrider.test.Bytes/${name}`;

/** Bytes of one message of a stream. */
export const MESSAGE_BYTES = 65_536;

const same = (bytes: Buffer): Buffer => bytes;

const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: methodPath(name),
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

const SERVICE = {
  unary: method("Unary", false, false),
  upload: method("Upload", true, false),
  download: method("Download", false, true),
  duplex: method("Duplex", true, true),
  fail: method("Fail", false, false),
  wait: method("Wait", false, false),
} satisfies ServiceDefinition;

/** What the server saw of one call. */
export interface GrpcCall {
  readonly path: string;
  readonly traceparent: string | undefined;
}

/** See the file's header. Made by `startGrpcServer`. */
export class GrpcServer {
  readonly calls: GrpcCall[] = [];
  port = 0;
  readonly #server = new Server();

  constructor() {
    const note = (name: string, metadata: Metadata): void => {
      this.calls.push({ path: methodPath(name), traceparent: metadata.get("traceparent")[0]?.toString() });
    };
    this.#server.addService(SERVICE, handlers(note));
  }

  /** Binds a free port of `UPSTREAM_ADDRESS`. */
  async listen(kind: "tls" | "clear"): Promise<void> {
    const { cert, key } = certificate("server");
    const credentials =
      kind === "clear"
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(null, [
            { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) },
          ]);
    this.port = await new Promise((resolve, reject) =>
      this.#server.bindAsync(`${UPSTREAM_ADDRESS}:0`, credentials, (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }
}

type Handlers = UntypedServiceImplementation & Record<keyof typeof SERVICE, UntypedHandleCall>;

function handlers(note: (name: string, metadata: Metadata) => void): Handlers {
  const unary: handleUnaryCall<Buffer, Buffer> = ({ metadata, request }, done) => {
    note("Unary", metadata);
    done(null, request);
  };
  const upload: handleClientStreamingCall<Buffer, Buffer> = (call, done) => {
    note("Upload", call.metadata);
    const messages: Buffer[] = [];
    call.on("data", (message: Buffer) => messages.push(message));
    call.on("end", () => done(null, Buffer.concat(messages)));
  };
  const download: handleServerStreamingCall<Buffer, Buffer> = (call) => {
    note("Download", call.metadata);
    for (let at = 0; at < call.request.length; at += MESSAGE_BYTES) {
      call.write(call.request.subarray(at, at + MESSAGE_BYTES));
    }
    call.end();
  };
  const duplex: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    note("Duplex", call.metadata);
    call.on("data", (message: Buffer) => call.write(message));
    call.on("end", () => call.end());
  };
  const fail: handleUnaryCall<Buffer, Buffer> = (call, done) => {
    note("Fail", call.metadata);
    const metadata = new Metadata();
    metadata.set("outrider-test", "kept");
    done({ code: status.RESOURCE_EXHAUSTED, details: "no more ☂", metadata });
  };
  // Never answers: the client's deadline ends it.
  const wait: handleUnaryCall<Buffer, Buffer> = ({ metadata }) => note("Wait", metadata);
  return { unary, upload, download, duplex, fail, wait };
}

/** Serves on a free port. */
export async function startGrpcServer(kind: "tls" | "clear"): Promise<GrpcServer> {
  const server = new GrpcServer();
  await server.listen(kind);
  return server;
}
