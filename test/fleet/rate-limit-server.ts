/**
 * A rate limit service made with @grpc/grpc-js. Its messages are those of envoy/service/ratelimit/v3/rls.proto and
 * envoy/extensions/common/ratelimit/v3/ratelimit.proto (envoyproxy/envoy, api/), encoded by protobuf.js: nothing of it is shared with
 * the client that it tests.
 */
import { Server, ServerCredentials, type ServiceDefinition, type sendUnaryData, status } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";

const HEADERS = { rule: "repeated", type: "config.core.v3.HeaderValue" } as const;

/** The parts of the files above, in protobuf.js's notation. */
const PROTO = {
  nested: {
    google: {
      nested: {
        protobuf: {
          nested: {
            Duration: { fields: { seconds: { id: 1, type: "int64" }, nanos: { id: 2, type: "int32" } } },
          },
        },
      },
    },
    envoy: {
      nested: {
        config: {
          nested: {
            core: {
              nested: {
                v3: {
                  nested: {
                    HeaderValue: {
                      fields: {
                        key: { id: 1, type: "string" },
                        value: { id: 2, type: "string" },
                        rawValue: { id: 3, type: "bytes" },
                      },
                    },
                  },
                },
              },
            },
          },
        },
        extensions: {
          nested: {
            common: {
              nested: {
                ratelimit: {
                  nested: {
                    v3: {
                      nested: {
                        RateLimitDescriptor: {
                          fields: { entries: { rule: "repeated", id: 1, type: "Entry" } },
                          nested: {
                            Entry: {
                              fields: { key: { id: 1, type: "string" }, value: { id: 2, type: "string" } },
                            },
                          },
                        },
                      },
                    },
                  },
                },
              },
            },
          },
        },
        service: {
          nested: {
            ratelimit: {
              nested: {
                v3: {
                  nested: {
                    RateLimitRequest: {
                      fields: {
                        domain: { id: 1, type: "string" },
                        descriptors: {
                          rule: "repeated",
                          id: 2,
                          type: "extensions.common.ratelimit.v3.RateLimitDescriptor",
                        },
                        hitsAddend: { id: 3, type: "uint32" },
                      },
                    },
                    RateLimitResponse: {
                      fields: {
                        overallCode: { id: 1, type: "Code" },
                        statuses: { rule: "repeated", id: 2, type: "DescriptorStatus" },
                        responseHeadersToAdd: { id: 3, ...HEADERS },
                        requestHeadersToAdd: { id: 4, ...HEADERS },
                        rawBody: { id: 5, type: "bytes" },
                      },
                      nested: {
                        Code: { values: { UNKNOWN: 0, OK: 1, OVER_LIMIT: 2 } },
                        RateLimit: {
                          fields: {
                            requestsPerUnit: { id: 1, type: "uint32" },
                            unit: { id: 2, type: "uint32" },
                            name: { id: 3, type: "string" },
                          },
                        },
                        DescriptorStatus: {
                          fields: {
                            code: { id: 1, type: "Code" },
                            currentLimit: { id: 2, type: "RateLimit" },
                            limitRemaining: { id: 3, type: "uint32" },
                            durationUntilReset: { id: 4, type: "google.protobuf.Duration" },
                          },
                        },
                      },
                    },
                    RateLimitService: {
                      methods: {
                        ShouldRateLimit: {
                          requestType: "RateLimitRequest",
                          responseType: "RateLimitResponse",
                        },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
};

/** A RateLimitRequest as protobuf.js reads it. */
export interface ReceivedQuestion {
  readonly domain: string;
  readonly descriptors: readonly { readonly entries: readonly { key: string; value: string }[] }[];
  readonly hitsAddend: number;
}

/** A RateLimitResponse as protobuf.js writes it; `silence` and `failure` are the server's misbehaviour. */
export type Judgement = Readonly<Record<string, unknown>> | "silence" | "failure";

/** See the file's header. */
export class RateLimitServer implements AsyncDisposable {
  readonly questions: ReceivedQuestion[] = [];
  readonly judge: (question: ReceivedQuestion) => Judgement;
  readonly #server = new Server();
  /** `host:port`. */
  authority = "";

  constructor(judge: (question: ReceivedQuestion) => Judgement) {
    this.judge = judge;
    const packages = fromJSON(PROTO as never, { defaults: true, enums: String });
    const service = packages["envoy.service.ratelimit.v3.RateLimitService"] as unknown as ServiceDefinition;
    this.#server.addService(service, {
      ShouldRateLimit: ({ request }: { request: ReceivedQuestion }, done: sendUnaryData<unknown>) => {
        this.questions.push(request);
        const judgement = this.judge(request);
        if (judgement === "silence") return;
        if (judgement === "failure") done({ code: status.UNAVAILABLE, details: "no backend" });
        else done(null, judgement);
      },
    });
  }

  /** Binds `port`, or a free one. */
  async listen(port = 0): Promise<this> {
    const credentials = ServerCredentials.createInsecure();
    const bound = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    this.authority = `127.0.0.1:${bound}`;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }
}

/** Serves on a free port. */
export function startRateLimitServer(judge: RateLimitServer["judge"]): Promise<RateLimitServer> {
  return new RateLimitServer(judge).listen();
}
