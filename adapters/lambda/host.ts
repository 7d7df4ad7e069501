/**
 * Lambda's Extensions API 2020-01-01 as an external extension speaks it (AWS Lambda Developer Guide, "Using the Lambda
 * Extensions API"): register, wait for events, report failures.
 */
import type { FieldLines } from "../../src/exchange.ts";
import { fieldValue } from "../../src/http1/fields.ts";
import { type ApiAnswer, ApiClient } from "./api.ts";

/** What Lambda tells an extension. */
export type HostEvent =
  | {
      readonly kind: "invoke";
      readonly requestId: string;
      /** Epoch milliseconds. */
      readonly deadlineWallMs: number;
      /** Value of X-Amzn-Trace-Id, or "". */
      readonly trace: string;
    }
  | { readonly kind: "shutdown"; readonly reason: string; readonly deadlineWallMs: number };

/** The API refused or cannot be reached: nothing can go on. The message is one sentence with the remedy. */
export class HostError extends Error {}

const BASE = "/2020-01-01/extension";
const IDENTIFIER = "lambda-extension-identifier";

/** See the file's header. */
export class LambdaHost {
  readonly #api: ApiClient;
  #identifier = "";

  constructor(runtimeApi: string) {
    this.#api = new ApiClient(runtimeApi);
  }

  /**
   * Registers as `name`, which has to be the file's name in /opt/extensions. Lambda starts the runtime when every extension has.
   * @throws HostError
   */
  async register(name: string): Promise<void> {
    const answer = await this.#call(
      "POST",
      "/register",
      `Lambda-Extension-Name: ${name}\r\n`,
      '{"events":["INVOKE","SHUTDOWN"]}',
    );
    this.#identifier = fieldValue(answer.fields, IDENTIFIER) ?? "";
    if (answer.status !== 200 || this.#identifier === "") {
      throw new HostError(
        `the Extensions API refused to register ${name}: ${said(answer)}; the extension's file in /opt/extensions has to have that name`,
      );
    }
  }

  /**
   * Waits for the next event, however long; the sandbox may be frozen meanwhile.
   * @throws HostError
   */
  async next(): Promise<HostEvent> {
    const answer = await this.#call("GET", "/event/next", this.#identity(), "");
    if (answer.status !== 200) {
      throw new HostError(`the Extensions API refused the next event: ${said(answer)}`);
    }
    return readEvent(answer.text);
  }

  /** Says that this extension cannot start (`init`) or go on (`exit`); Lambda then ends the sandbox. Never rejects. */
  async fail(phase: "init" | "exit", errorType: string, message: string): Promise<void> {
    const fields = `${this.#identity()}Lambda-Extension-Function-Error-Type: ${errorType}\r\n`;
    const body = JSON.stringify({ errorMessage: message, errorType, stackTrace: [] });
    await this.#call("POST", `/${phase}/error`, fields, body).catch(() => {});
  }

  #identity(): FieldLines {
    return `Lambda-Extension-Identifier: ${this.#identifier}\r\n`;
  }

  async #call(method: "GET" | "POST", path: string, fields: FieldLines, body: string) {
    try {
      return await this.#api.call(method, BASE + path, fields, body);
    } catch (error) {
      const code = (error as { code?: string }).code ?? (error as Error).message;
      throw new HostError(
        `no Extensions API at AWS_LAMBDA_RUNTIME_API (${code}); this program runs inside AWS Lambda or \`outrider emulate\``,
      );
    }
  }
}

/** Status and body of a refusal on one line. */
function said({ status, text }: ApiAnswer): string {
  return `${status} ${text.slice(0, 200).replace(/\s+/g, " ")}`.trim();
}

/** The event in the body of an answer. Unknown fields are ignored; the docs and the wire differ in the case of reasons. */
export function readEvent(text: string): HostEvent {
  const event = JSON.parse(text) as {
    eventType?: string;
    requestId?: string;
    deadlineMs?: number;
    shutdownReason?: string;
    tracing?: { value?: string };
  };
  const deadlineWallMs = Number(event.deadlineMs ?? Number.POSITIVE_INFINITY);
  if (event.eventType === "SHUTDOWN") {
    return { kind: "shutdown", reason: String(event.shutdownReason ?? "").toLowerCase(), deadlineWallMs };
  }
  if (event.eventType === "INVOKE") {
    return {
      kind: "invoke",
      requestId: event.requestId ?? "",
      deadlineWallMs,
      trace: event.tracing?.value ?? "",
    };
  }
  throw new HostError(`unknown event from the Extensions API: ${text.slice(0, 100)}`);
}
