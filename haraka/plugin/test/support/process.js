'use strict'

// Accounting as one Haraka process has it, in a directory of the test's own.

const { mkdtempSync, rmSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const { Accounting } = require('../../lib/accounting')
const { read } = require('../../lib/settings')

/** Log lines, by level. */
function log() {
  const lines = { debug: [], info: [], warn: [], error: [] }
  const write = (level) => (line) => lines[level].push(line)
  return { lines, debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

function temporaryDirectory() {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-'))
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

function settings({ redis = {}, ...main }) {
  const own = { node: 'mx1', publish_interval_ms: 0, ...main }
  const { settings: found, problems } = read({ main: own, redis }, {}, 'mx1')
  if (problems.length > 0) throw new Error(problems.join('; '))
  return found
}

/** Haraka's answer to a hook, as a test waits for it. */
function answer(free) {
  return { hold() {}, release: free }
}

/** Start accounting: {accounting, log, add, …}. `add(n)` resolves when the answers to n events were let go. */
function start(port, dir, options = {}) {
  const logged = log()
  const { redis, ...main } = options
  const accounting = new Accounting(settings({ ...main, redis: { port, ...redis } }), logged, dir)
  accounting.start()
  let count = 0
  const one = (type = 'delivered', job = 'JOB.1') =>
    new Promise((resolve) => {
      const body = `"timeLogged":${Date.now()},"jobId":"${job}","rcpts":[{"rcpt":"r${count++}@a.test"}]`
      accounting.add(type, body, job, answer(resolve))
    })
  const add = (n, type) => Promise.all(Array.from({ length: n }, () => one(type)))
  return { accounting, log: logged, lines: logged.lines, one, add, sent: () => count }
}

/** Wait until a question is answered with something true. The time is for what never comes, however slow the machine is. */
async function until(question, ms = 60_000) {
  const end = Date.now() + ms
  for (;;) {
    const answer = await question()
    if (answer) return answer
    if (Date.now() > end) throw new Error(`still not: ${question}`)
    await sleep(10)
  }
}

/** Recipients r0 … r(n-1), sorted, to compare with those of events. */
function expected(n) {
  return Array.from({ length: n }, (_, i) => `r${i}@a.test`).sort()
}

function recipients(events) {
  return Object.values(events)
    .flat()
    .flatMap(({ rcpts }) => rcpts.map(({ rcpt }) => rcpt))
    .sort()
}

module.exports = { start, answer, settings, temporaryDirectory, until, expected, recipients, log, sleep }
