/**
 * Whether the environment allows faults on purpose. Pure; the host asks once, with the environment that it was started in.
 *
 * Two keys turn: the policy names a fault, and whoever runs the program says OUTRIDER_FAULTS=on. A policy file that reaches production
 * by mistake then does no harm.
 */

/** The variable that must be `on`. */
export const FAULTS_VARIABLE = "OUTRIDER_FAULTS";

/** Where an environment says what it is. The first that is set decides, so that NODE_ENV=production, which libraries ask for, can be overruled. */
const STAGE_VARIABLES = ["OUTRIDER_ENV", "NODE_ENV"] as const;

/** Names of the environment in which there are never faults. */
const PRODUCTION = /^prod(?:uction)?$/i;

/** True when `env` has OUTRIDER_FAULTS=on and does not say that it is production. */
export function faultsAllowed(env: Readonly<Record<string, string | undefined>>): boolean {
  if (env[FAULTS_VARIABLE] !== "on") return false;
  const stage = STAGE_VARIABLES.map((name) => env[name]?.trim()).find(
    (value) => value !== undefined && value !== "",
  );
  return stage === undefined || !PRODUCTION.test(stage);
}
