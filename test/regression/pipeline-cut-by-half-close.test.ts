/**
 * An application that sends several requests and ends its side behind the last (`printf '…' | nc`) got only the first answer: the end
 * was taken for the end of everything, although requests were waiting that had come before it.
 */
import { expect, test } from "vitest";
import { field } from "../kit/message.ts";
import { ok, scriptedOrigin } from "../kit/origin.ts";
import { get, post, startProxy } from "../kit/proxy.ts";

test("requests that came before the end are all answered, and the last answer says that it is the last", async () => {
  await using origin = await scriptedOrigin([ok("1"), ok("2"), ok("3")]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const sent = client.write(`${get(origin, "/1")}${post(origin, "abc", "", "/2")}${get(origin, "/3")}`);
  client.halfClose();
  await sent;
  const answers = [await client.response(), await client.response(), await client.response()];
  expect(answers.map((answer) => answer.body.toString())).toEqual(["1", "2", "3"]);
  expect(answers.map((answer) => field(answer, "connection"))).toEqual([undefined, undefined, "close"]);
  expect(await client.gone()).toBe("end");
});

test.each([
  ["a head", "GET http://x/ HT", 400],
  ["a body", "POST http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", null],
])("what ends inside %s is refused at once", async (_what, unfinished, status) => {
  await using origin = await scriptedOrigin([ok()]);
  await using proxy = await startProxy();
  using client = await proxy.client();
  const sent = client.write(`${get(origin)}${unfinished.replace("//x", `//${origin.authority}`)}`);
  client.halfClose();
  await sent;
  expect((await client.response()).status).toBe(200);
  if (status === null) expect(await client.gone()).toBe("reset");
  else expect((await client.response()).status).toBe(status);
  await client.gone();
});
