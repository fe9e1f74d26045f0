'use strict'

// What the benchmarks share: the plugin as Haraka loads it, a hook call of a usual delivery, figures.

const { mkdtempSync, mkdirSync, rmSync, writeFileSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')

/** The plugin in a Haraka directory of its own, publishing to `port`; started as in a single process. */
function loadPlugin(port, ini = '') {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-bench-'))
  mkdirSync(path.join(dir, 'config'))
  writeFileSync(path.join(dir, 'config', 'accounting_stream.ini'), `${ini}\n[redis]\nport=${port}\n`)
  process.env.HARAKA = dir
  const fixtures = require('haraka-test-fixtures')
  const plugin = new fixtures.plugin('index')
  for (const level of ['debug', 'info', 'warn', 'error']) {
    plugin[`log${level}`] = (line) => level === 'error' && console.error(line)
  }
  global.server = { notes: {} }
  plugin.register()
  plugin.start_accounting(() => {})
  return { plugin, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

/** As Haraka has it after it read the queue file: every text a flat string of its own. */
function todo(i) {
  const address = (text) => ({ original: `<${text}>`, address: text, user: 'x', host: 'y' })
  const text = JSON.stringify({
    queue_time: Date.now() - 1000 - (i % 1000),
    domain: 'example.com',
    uuid: `9477D19A-46D2-4C56-8C5A-${String(i).padStart(12, '0')}.1.1`,
    mail_from: address('bounces@sender.example'),
    rcpt_to: [address(`recipient.${i}@example.com`)],
    notes: { accounting_stream: { helo: 'client.sender.example', custom: { 'x-campaign': 'spring-sale' } } },
  })
  return JSON.parse(text)
}

/** Arguments of a `delivered` hook call; every message is another. */
function delivery(i) {
  const read = todo(i)
  const hmail = { num_failures: 0, notes: read.notes, todo: read }
  const response = ['Ok: queued as', `4F${i}A7`].join(' ')
  return [hmail, ['mx1.example.com', '192.0.2.25', response, 1.1, 25, 'SMTP', read.rcpt_to, true, false]]
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]
}

/** Median and 99th percentile of nanoseconds, as text in µs. */
function figures(nanoseconds) {
  const sorted = Float64Array.from(nanoseconds).sort()
  const us = (q) => (quantile(sorted, q) / 1000).toFixed(1).padStart(7)
  return `median ${us(0.5)} us   p99 ${us(0.99)} us   max ${us(1)} us`
}

module.exports = { loadPlugin, delivery, figures }
