'use strict'

// Hook arguments as a real Haraka 3.3.4 handed them over (fixtures/hooks), with the addresses' getters put back.

const { readFileSync, readdirSync } = require('node:fs')
const path = require('node:path')

const DIR = path.join(__dirname, '..', 'fixtures', 'hooks')

function address(own) {
  return { ...own, address: own.original.replace(/^<|>$/g, '') }
}

function addresses(holder, ...names) {
  for (const name of names) if (holder[name]) holder[name] = holder[name].map(address)
  return holder
}

function revive({ hook, now, hmail, params, error, sock }) {
  addresses(hmail.todo, 'rcpt_to').mail_from = address(hmail.todo.mail_from)
  if (hook === 'bounce')
    params = addresses(Object.assign(new Error(error.message), error), 'bounced_rcpt', 'deferred_rcpt')
  if (hook === 'deferred') addresses(params, 'fail_recips')
  if (hook === 'delivered') {
    const p = addresses(params, 'ok_recips')
    params = [p.host, p.ip, p.response, p.delay, p.port, p.mode, p.ok_recips, p.secured, p.authenticated]
  }
  return { type: hook, now, hmail, params, sock }
}

/** Names of the recorded scenarios. */
const scenarios = readdirSync(DIR).map((file) => path.basename(file, '.ndjson'))

/** The hook calls of one scenario, in their order. */
function calls(scenario) {
  const lines = readFileSync(path.join(DIR, `${scenario}.ndjson`), 'utf8')
    .trim()
    .split('\n')
  return lines.map((line) => revive(JSON.parse(line)))
}

module.exports = { scenarios, calls }
