/** The outcome of a gRPC call, which HTTP's own status does not tell (gRPC over HTTP/2, "Responses"). Pure. */
import type { FieldLines } from "../exchange.ts";
import { fieldValue } from "./fields.ts";

/** The value of `grpc-status` in the fields of a head or of a trailer section; `null` when there is none that is a number from 0 to 16. */
export function grpcStatusOf(fields: FieldLines): number | null {
  const value = fieldValue(fields, "grpc-status");
  if (value === undefined || !/^[0-9]{1,2}$/.test(value)) return null;
  const status = Number(value);
  return status <= 16 ? status : null;
}
