/** Texts about what sandboxes share: what each is refused for, and what the message says to write instead. */
import { describe, expect, test } from "vitest";
import {
  descriptorProblem,
  domainProblem,
  hostPortProblem,
  keyPrefixProblem,
  storeProblem,
  variableProblem,
} from "../../src/config/notation-fleet.ts";

describe("taken are", () => {
  test.each([
    [storeProblem, "redis://cache.internal:6379"],
    [storeProblem, "rediss://cache.internal:6379/0"],
    [storeProblem, "redis://[::1]:6379/15"],
    [storeProblem, "redis://cache"],
    [hostPortProblem, "rl.internal:8081"],
    [hostPortProblem, "10.0.0.1:1"],
    [hostPortProblem, "[::1]:8081"],
    [variableProblem, "REDIS_PASSWORD"],
    [keyPrefixProblem, ""],
    [keyPrefixProblem, "prod:outrider:"],
    [domainProblem, "outrider"],
    [descriptorProblem, "plan=free"],
    [descriptorProblem, "tenant=$header:x-tenant"],
    [descriptorProblem, "to=$destination"],
    [descriptorProblem, "route=$route"],
    [descriptorProblem, "who=$identity"],
    [descriptorProblem, "a=b=c"],
  ])("%s: %s", (problem, text) => {
    expect(problem(text)).toBeNull();
  });
});

describe("refused are", () => {
  test.each([
    [storeProblem, "cache:6379", "write redis://host:6379"],
    [storeProblem, "http://cache:6379", "write redis://host:6379"],
    [storeProblem, "redis://:secret@cache:6379", "password_env"],
    [storeProblem, "redis://user@cache:6379", "password_env"],
    [storeProblem, "redis://cache:6379/prod", "number of the database"],
    [storeProblem, "redis://cache:6379/0?tls=1", "leave out what follows"],
    [storeProblem, "redis://cache:99999", "write redis://host:6379"],
    [hostPortProblem, "rl.internal", "write host:port"],
    [hostPortProblem, "rl.internal:0", "write host:port"],
    [hostPortProblem, "http://rl.internal:80", "write host:port"],
    [hostPortProblem, "127.1:80", "ends in a number"],
    [variableProblem, "$PW", "no name of an environment variable"],
    [variableProblem, "1PW", "no name of an environment variable"],
    [keyPrefixProblem, "{a}", "at most 64"],
    [keyPrefixProblem, "a".repeat(65), "at most 64"],
    [domainProblem, "", "1 to 128"],
    [descriptorProblem, "tenant", "write key=value"],
    [descriptorProblem, "=x", "write key=value"],
    [descriptorProblem, "tenant=$tenant", "what begins with $ is filled in"],
    [descriptorProblem, "tenant=$header:", "no header name"],
  ])("%s: %s", (problem, text, message) => {
    expect(problem(text)).toContain(message);
  });

  test("a store's password is not repeated by the message that refuses it", () => {
    expect(storeProblem("redis://:hunter2@cache:6379")).not.toContain("hunter2");
  });
});
