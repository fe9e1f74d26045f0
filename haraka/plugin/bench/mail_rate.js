'use strict'

// node bench/mail_rate.js <directory of the npm package Haraka> [messages] [pairs]: CPU time that a real Haraka takes for a
// message, with and without the plugin, in interleaved pairs. Sender and sink run in this process and are not counted.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')

const { eventsOf } = require('../test/support/streams')
const { Valkey, freePort } = require('../test/support/valkey')

const [haraka, messages = 1000, pairs = 8] = process.argv.slice(2)
const CONNECTIONS = 10
const PLUGIN = path.join(__dirname, '..')
const LAB = `exports.hook_connect = function (next, c) { c.relaying = true; next() }
exports.hook_rcpt = function (next) { next(OK) }
exports.hook_get_mx = function (next) { next(OK, { exchange: '127.0.0.1', port: SINK, priority: 0 }) }`

/** Speak lines: `answer(line)` gives what is written back. */
function lines(socket, answer) {
  let rest = ''
  socket.setEncoding('latin1').on('error', () => {})
  socket.on('data', (data) => {
    const found = (rest + data).split('\r\n')
    rest = found.pop()
    for (const line of found) {
      const reply = answer(line)
      if (reply) socket.write(reply)
    }
  })
}

async function startSink(onMessage) {
  const server = net.createServer((socket) => {
    let inData = false
    socket.write('220 sink\r\n')
    lines(socket, (line) => {
      if (inData && line !== '.') return ''
      if (inData) onMessage()
      const ended = inData
      inData = !ended && /^DATA/i.test(line)
      return inData ? '354 go\r\n' : /^QUIT/i.test(line) ? '221 bye\r\n' : '250 ok\r\n'
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}

/** Send messages over one connection. */
function send(port, count, from) {
  const body = `From: a@sender.test\r\nSubject: x\r\n\r\n${'line of text\r\n'.repeat(40)}.\r\n`
  const steps = ['EHLO client\r\n']
  for (let i = 0; i < count; i++) {
    steps.push('MAIL FROM:<a@sender.test>\r\n', `RCPT TO:<r${from + i}@a.test>\r\n`, 'DATA\r\n', body)
  }
  steps.push('QUIT\r\n')
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('close', resolve).on('error', reject)
    let step = 0
    lines(socket, (line) =>
      /^[23]\d\d /.test(line) ? steps[step++] : /^[45]/.test(line) && reject(new Error(line)),
    )
  })
}

async function listening(port) {
  for (let i = 0; i < 100; i++) {
    const socket = net.connect(port, '127.0.0.1')
    const found = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (found) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('Haraka did not start')
}

function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function instance(port, sink, redis, plugins) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-haraka-'))
  for (const name of ['config', 'plugins', 'node_modules']) mkdirSync(path.join(dir, name))
  const write = (name, text) => writeFileSync(path.join(dir, name), text)
  write('config/smtp.ini', `listen=127.0.0.1:${port}\nnodes=0\n`)
  write('config/outbound.ini', 'local_mx_ok=true\nenable_tls=false\n')
  write('config/connection.ini', readFileSync(path.join(haraka, 'config', 'connection.ini')))
  write('config/log.ini', 'level=warn\n')
  write('config/me', 'mx1.bench\n')
  write('config/plugins', plugins.join('\n'))
  write('config/accounting_stream.ini', `[redis]\nport=${redis}\n`)
  write('plugins/lab.js', LAB.replace('SINK', sink))
  symlinkSync(PLUGIN, path.join(dir, 'node_modules', 'haraka-plugin-accounting-stream'))
  return dir
}

async function run(valkey, plugins) {
  let delivered = 0
  const sink = await startSink(() => delivered++)
  const port = await freePort()
  const dir = instance(port, sink.address().port, valkey.port, plugins)
  const child = spawn(process.execPath, [path.join(haraka, 'haraka.js')], {
    env: { ...process.env, HARAKA: dir },
    stdio: 'ignore',
  })
  const done = async (count) => {
    const from = delivered
    const each = Math.floor(count / CONNECTIONS)
    await Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => send(port, each, i * each)))
    while (delivered < from + each * CONNECTIONS) await new Promise((resolve) => setTimeout(resolve, 10))
    return each * CONNECTIONS
  }
  await listening(port)
  await done(messages / 2)
  const before = cpuSeconds(child.pid)
  const begin = performance.now()
  const count = await done(messages)
  await new Promise((resolve) => setTimeout(resolve, 200))
  const cpuMs = ((cpuSeconds(child.pid) - before) / count) * 1000
  const rate = count / ((performance.now() - begin - 200) / 1000)
  child.kill('SIGKILL')
  await once(child, 'exit')
  sink.close()
  rmSync(dir, { recursive: true, force: true })
  return { cpuMs, rate }
}

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]

async function main() {
  const valkey = await Valkey.start()
  const differences = []
  const without = []
  for (let i = 0; i < pairs; i++) {
    const order = i % 2 ? [true, false] : [false, true]
    const result = {}
    for (const on of order) result[on] = await run(valkey, on ? ['lab', 'accounting-stream'] : ['lab'])
    differences.push((result.true.cpuMs / result.false.cpuMs - 1) * 100)
    without.push(result.false.cpuMs)
    console.log(
      `pair ${i + 1}: CPU/message without ${result.false.cpuMs.toFixed(3)} ms, with ${result.true.cpuMs.toFixed(3)} ms,`,
      `${differences.at(-1).toFixed(1)} %; messages/s ${result.false.rate.toFixed(0)} and ${result.true.rate.toFixed(0)}`,
    )
  }
  const mean = differences.reduce((sum, each) => sum + each, 0) / differences.length
  const deviation = Math.sqrt(
    differences.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (differences.length - 1),
  )
  console.log(
    `CPU/message without, median ${median(without).toFixed(3)} ms; difference median ${median(differences).toFixed(1)} %,`,
    `mean ${mean.toFixed(1)} % +- ${(deviation / Math.sqrt(differences.length)).toFixed(1)} % (standard error);`,
    `events in the streams ${(await eventsOf(valkey)).delivered.length}`,
  )
  await valkey.stop()
}

main()
