import { expect, test } from "vitest";
import { compareRequests, compareResponses } from "./differential.ts";

// `npm run fuzz` runs the same for longer, from a seed of the moment.
const FIRST_SEED = 1;
const MESSAGES = 4000;

test("nothing that Node refuses in a request is accepted, and what both accept is understood the same", async () => {
  const { accepted, differences } = await compareRequests(FIRST_SEED, MESSAGES);
  expect(differences).toEqual([]);
  // Agreement on refusals alone would show nothing.
  expect(accepted).toBeGreaterThan(MESSAGES / 10);
});

test("nothing that Node refuses in a response is accepted, and what both accept is understood the same", async () => {
  const { accepted, differences } = await compareResponses(FIRST_SEED, MESSAGES);
  expect(differences).toEqual([]);
  expect(accepted).toBeGreaterThan(MESSAGES / 10);
});
