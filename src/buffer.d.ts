/**
 * Node's Buffer has had these two from the beginning, and its own HTTP code uses them; the documented `toString("latin1")` and
 * `write(…, "latin1")` end in them after a look-up of the encoding's name, which the data path would pay for every head.
 */
interface Buffer {
  latin1Slice(start?: number, end?: number): string;
  latin1Write(text: string, offset?: number, length?: number): number;
}
