#!/usr/bin/env node
// A write policy plugin: only authors whose keys are arguments may write.
const allowed = new Set(process.argv.slice(2));
const lines = require('readline').createInterface({ input: process.stdin, terminal: false });

lines.on('line', (line) => {
  const { type, event } = JSON.parse(line);
  if (type !== 'new') {
    console.error('unexpected type');
    return;
  }
  const verdict = allowed.has(event.pubkey)
    ? { action: 'accept' }
    : { action: 'reject', msg: 'blocked: not on the white list' };
  console.log(JSON.stringify({ id: event.id, ...verdict }));
});
