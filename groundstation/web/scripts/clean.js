// Removes what an earlier build left in dist/, and keeps the committed note.
import { existsSync, readdirSync, rmSync } from 'node:fs';

const dist = new URL('../dist/', import.meta.url);
for (const name of existsSync(dist) ? readdirSync(dist) : []) {
  if (name !== 'README.md') rmSync(new URL(name, dist), { recursive: true });
}
