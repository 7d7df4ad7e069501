/**
 * A key's place between 0 and 1: the same in every sandbox, release and language, so that what is decided by it is the same everywhere.
 *
 * The hash is FNV-1a with 32 bits (draft-eastlake-fnv) over the key's characters as bytes, mixed by the finaliser of MurmurHash3
 * (fmix32), because short keys that differ in their last character only would lie close together otherwise; the place is the hash
 * divided by 2^32. No defence against somebody who picks keys.
 */

const OFFSET_BASIS = 0x811c9dc5;
const PRIME = 0x01000193;

/** FNV-1a, 32 bits, unsigned. Field values have one character for each byte; of other characters the low byte counts. */
export function fnv1a(key: string): number {
  let hash = OFFSET_BASIS;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ (key.charCodeAt(i) & 0xff), PRIME);
  return hash >>> 0;
}

/** The place of `key` in [0, 1). */
export function stickyPoint(key: string): number {
  let hash = fnv1a(key);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
