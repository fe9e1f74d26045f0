'use strict'

// A real Haraka for the benchmarks: one process that relays mail from a sender to a sink, both in the bench's own process.

const { execFileSync, spawn } = require('node:child_process')
const { once } = require('node:events')
const {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: pause } = require('node:timers/promises')

const { freePort } = require('../test/support/valkey')

const CONNECTIONS = 10
const RELAY_MS = 30_000 // Haraka tries a delivery again after a minute
const PLUGIN = path.join(__dirname, '..')
const LAB = `exports.hook_connect = function (next, c) { c.relaying = true; next() }
exports.hook_rcpt = function (next) { next(OK) }
exports.hook_get_mx = function (next) { next(OK, { exchange: '127.0.0.1', port: SINK, priority: 0 }) }`

// The hooks that the plugin has, without the plugin: what Haraka itself takes for running them; and, where they answer all
// together now and then, for going on with many messages at once. Without Haraka's timer for each, as the plugin has them.
const ONLY_NEXT = `exports.register = function () {
  this.timeout = 0
  for (const hook of ['mail', 'pre_send_trans_email', 'send_email', 'delivered', 'deferred', 'bounce']) this.register_hook(hook, 'go_on')
}
exports.go_on = function (next) { next() }`
const HELD = `exports.register = function () {
  this.timeout = 0
  for (const hook of ['mail', 'pre_send_trans_email', 'send_email']) this.register_hook(hook, 'go_on')
  for (const hook of ['delivered', 'deferred', 'bounce']) this.register_hook(hook, 'hold')
}
exports.go_on = function (next) { next() }
let held = []
exports.hold = function (next) {
  if (held.push(next) > 1) return
  setTimeout(() => { for (const each of held.splice(0)) each() }, 50)
}`

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
      if (!/^QUIT/i.test(line)) return inData ? '354 go\r\n' : '250 ok\r\n'
      // Haraka leaves it to the server to close: it would keep a descriptor for each message.
      socket.end('221 bye\r\n')
      return ''
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
    await pause(100)
  }
  throw new Error('Haraka did not start')
}

/** CPU time, to the nanosecond: {main: of the event loop's thread, all: of all threads}. */
function cpuMs(pid) {
  const ms = (id) => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'latin1').split(' ')[0]) / 1e6
  const all = readdirSync(`/proc/${pid}/task`).reduce((sum, id) => sum + ms(id), 0)
  return { main: ms(pid), all }
}

/**
 * Keep this process, and what it starts, off the last core, which is Haraka's then; returns the words that start a command
 * there, none where that cannot be. Else the server, busy only for the plugin, takes Haraka's core and caches now and then.
 */
function ownCore() {
  const last = os.availableParallelism() - 1
  try {
    execFileSync('taskset', ['-acp', `0-${last - 1}`, String(process.pid)], { stdio: 'ignore' })
    return ['taskset', '-c', String(last)]
  } catch {
    console.log('Haraka shares its core: with one core only, or without taskset, the figures are less exact')
    return []
  }
}

function instance(haraka, { port, sink, redis, plugins, ini = '' }) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-haraka-'))
  for (const name of ['config', 'plugins', 'node_modules']) mkdirSync(path.join(dir, name))
  const write = (name, text) => writeFileSync(path.join(dir, name), text)
  write('config/smtp.ini', `listen=127.0.0.1:${port}\nnodes=0\n`)
  write('config/outbound.ini', 'local_mx_ok=true\nenable_tls=false\n')
  write('config/connection.ini', readFileSync(path.join(haraka, 'config', 'connection.ini')))
  write('config/log.ini', 'level=warn\n')
  write('config/me', 'mx1.bench\n')
  write('config/plugins', ['lab', ...plugins].join('\n'))
  write('config/accounting_stream.ini', `${ini}\n[redis]\nport=${redis}\n`)
  write('plugins/lab.js', LAB.replace('SINK', sink))
  write('plugins/only_next.js', ONLY_NEXT)
  write('plugins/held.js', HELD)
  symlinkSync(PLUGIN, path.join(dir, 'node_modules', 'haraka-plugin-accounting-stream'))
  return dir
}

/** One Haraka with its sink. */
class Haraka {
  cpuMs = { main: 0, all: 0 }
  sent = 0
  #delivered = 0

  /**
   * haraka: directory of its npm package; plugins: beside the one that lets everything through; ini: of the plugin;
   * before: words that start a command on a core of its own.
   */
  static async start(haraka, redis, { plugins, ini, before = [] }) {
    const subject = new Haraka()
    subject.sink = await startSink(() => subject.#delivered++)
    subject.port = await freePort()
    const { port: sink } = subject.sink.address()
    subject.dir = instance(haraka, { port: subject.port, sink, redis, plugins, ini })
    const [command, ...rest] = [...before, process.execPath, path.join(haraka, 'haraka.js')]
    subject.child = spawn(command, rest, {
      env: { ...process.env, HARAKA: subject.dir },
      stdio: 'ignore',
    })
    await listening(subject.port)
    return subject
  }

  /** Messages through to the sink, and their hooks. */
  async relay(count) {
    const end = this.#delivered + count
    const each = count / CONNECTIONS
    await Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => send(this.port, each, i * each)))
    const deadline = performance.now() + RELAY_MS
    while (this.#delivered < end) {
      if (performance.now() > deadline) throw new Error(`${end - this.#delivered} messages did not arrive`)
      await pause(5)
    }
    await pause(50)
  }

  async measure(count) {
    const before = cpuMs(this.child.pid)
    await this.relay(count)
    const after = cpuMs(this.child.pid)
    for (const threads of ['main', 'all']) this.cpuMs[threads] += after[threads] - before[threads]
    this.sent += count
  }

  /** CPU ms per message, of the event loop's thread and of all threads. */
  get cpuPerMessage() {
    return { main: this.cpuMs.main / this.sent, all: this.cpuMs.all / this.sent }
  }

  async stop() {
    this.child.kill('SIGKILL')
    await once(this.child, 'exit')
    this.sink.close()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

module.exports = { Haraka, ownCore }
