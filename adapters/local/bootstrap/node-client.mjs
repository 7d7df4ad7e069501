/**
 * Calls the Runtime API.
 *
 * Owns one kept-alive connection without any timeout: the process may be frozen inside `next`. An agent of its own ignores proxy
 * variables, as the native client of the service does.
 */
import { Agent, request } from "node:http";

/** A client for the Runtime API at `address`, which is `host:port`. */
export function createClient(address) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const base = `http://${address}/2018-06-01/runtime`;

  function call(method, path, headers = {}, body) {
    const { promise, resolve, reject } = Promise.withResolvers();
    const outgoing = request(`${base}${path}`, { method, agent, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode < 300) resolve({ headers: response.headers, body: text });
        else
          reject(new Error(`The Runtime API answered ${response.statusCode} to ${method} ${path}: ${text}`));
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
    return promise;
  }

  const report = (path, error) =>
    call(
      "POST",
      path,
      { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": error.errorType },
      JSON.stringify(error),
    );

  return {
    next: () => call("GET", "/invocation/next"),
    respond: (requestId, json) =>
      call("POST", `/invocation/${requestId}/response`, { "Content-Type": "application/json" }, json),
    error: (requestId, error) => report(`/invocation/${requestId}/error`, error),
    initError: (error) => report("/init/error", error),
    /** An open request whose body is the stream, on a connection of its own that ends with it. */
    openStream(requestId, contentType, onAnswer, onError) {
      const outgoing = request(`${base}/invocation/${requestId}/response`, {
        method: "POST",
        agent: false,
        headers: {
          "Content-Type": contentType,
          "Lambda-Runtime-Function-Response-Mode": "streaming",
          "Transfer-Encoding": "chunked",
          Trailer: "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        },
      });
      outgoing.on("response", (response) => response.resume().on("end", onAnswer));
      outgoing.on("error", onError);
      return outgoing;
    },
  };
}
