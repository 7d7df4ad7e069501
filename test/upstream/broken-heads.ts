/**
 * A program for `native-session.test.ts`: calls an upstream many times, each on a new connection, that begins a head, breaks it off and
 * leaves. With the argument "bare" by `node:http2` alone, else by the upstream room.
 */
import { connect } from "node:http2";
import { FRAME, type FrameScript, frameOrigin, headerBlock } from "../kit/http2-origin.ts";
import { errorOf, Sending } from "./sending.ts";

const CALLS = 1500;
const END_HEADERS = 4;

const breaking: FrameScript = async (peer) => {
  await peer.settings();
  // The last name is not valid, so that the block is never shown to anybody.
  const block = headerBlock([":status", "200", "xylophone", "y", "Z", "1"]);
  await peer.send(FRAME.headers, END_HEADERS, await peer.request(), block);
};

const origin = await frameOrigin([breaking]);

async function callBare(): Promise<void> {
  await new Promise<void>((resolve) => {
    const session = connect(`http://${origin.authority}`);
    session.on("error", () => {});
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    stream.resume();
    stream.on("close", () => {
      session.destroy();
      session.on("close", () => resolve());
    });
  });
}

async function callRoom(): Promise<void> {
  using sending = new Sending({ port: origin.port });
  await errorOf(sending.send());
}

const call = process.argv[2] === "bare" ? callBare : callRoom;
for (let calls = 0; calls < CALLS; calls++) {
  await call();
  origin.connections.splice(0);
}
console.log("survived");
process.exit(0);
