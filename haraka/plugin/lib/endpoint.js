'use strict'

// Where to connect to, and how: settings → options of one plain node-redis client.
//
// Sentinel and Cluster are asked anew at every connection, and then a plain client goes to the one node that matters. The
// client library's own sentinel and cluster modes send commands again by themselves; here every retry is the publisher's.

const { load } = require('./client')
const { atMost } = require('./deadline')
const { readGiven } = require('./given_file')

const { createClient } = load()

const DEFAULT_PORT = 6379

/**
 * The library's own timeout of a connection is so many times ours. It ends with the TCP or TLS handshake, begins anew with each
 * byte of it, and takes a stall of this process for one of the server: it is only for a socket that nobody waits for any more.
 */
const SOCKET_PATIENCE = 4

function hostAndPort(text, defaultPort) {
  const [, host, port] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(text)
  return { host, port: Number(port ?? defaultPort) }
}

function ofUrl(url) {
  const { protocol, hostname, port, username, password, pathname } = new URL(url)
  if (protocol !== 'redis:' && protocol !== 'rediss:')
    throw new Error('the URL of redis begins with redis:// or rediss://')
  return {
    address: { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || DEFAULT_PORT) },
    tls: protocol === 'rediss:',
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: pathname.length > 1 ? databaseOf(pathname.slice(1)) : '',
  }
}

function databaseOf(text) {
  if (!/^\d{1,5}$/.test(text)) throw new Error('the URL of redis ends with the number of a database')
  return Number(text)
}

async function tlsOptions(redis) {
  const file = async (name) => (redis[name] ? readGiven(redis[name]) : undefined)
  return {
    tls: true,
    ca: await file('tls_ca'),
    cert: await file('tls_cert'),
    key: await file('tls_key'),
    rejectUnauthorized: redis.tls_reject_unauthorized,
    ...(redis.tls_servername && { servername: redis.tls_servername }),
  }
}

const MAX_SECRET_BYTES = 4096

async function password(redis, fallback) {
  if (!redis.password_file) return redis.password || fallback
  const [line] = (await readGiven(redis.password_file, MAX_SECRET_BYTES)).toString('utf8').split('\n', 1)
  return line.trim()
}

// The library makes a class of some five hundred commands for every new set of options: 20 to 45 ms in which nothing else
// happens, at each connection of an outage. A duplicate has the class of this one, which itself never connects.
const template = createClient({ RESP: 2, disableOfflineQueue: true, disableClientInfo: true })

/** A client that is connected, or an error. It never connects again by itself and never queues while it is offline. */
async function connect(socket, { username, password: secret, database, timeout }) {
  const client = template.duplicate({
    socket: { ...socket, connectTimeout: SOCKET_PATIENCE * timeout, reconnectStrategy: false },
    ...(username && { username }),
    ...(secret && { password: secret }),
    ...(database && { database }),
  })
  // Without a listener an 'error' would end the process; a failed command or connect() says the same.
  client.on('error', () => {})
  let isConnected = false
  client.once('connect', () => (isConnected = true))
  try {
    return await answered(client.connect(), timeout)
  } catch (error) {
    // Before it has a socket the library would forget that it was told to drop it, and go on to AUTH.
    if (isConnected) discard(client)
    else client.once('connect', () => discard(client))
    throw error
  }
}

/** The outcome of something that a server has to answer, or an error when it takes too long. */
async function answered(work, timeout) {
  const nothing = Symbol('nothing')
  const answer = await atMost(timeout, work, nothing)
  if (answer === nothing) throw new Error(`no answer within ${timeout} ms`)
  return answer
}

/** Drop a client at once; what it has under way is rejected. */
function discard(client) {
  if (client.isOpen) client.destroy()
}

async function asking(socket, credentials, ask) {
  const client = await connect(socket, credentials)
  try {
    return await answered(
      ask((...args) => client.sendCommand(args)),
      credentials.timeout,
    )
  } finally {
    discard(client)
  }
}

/** The first answer of several servers that ought to know the same. */
async function firstOf(list, defaultPort, tls, credentials, ask) {
  let failure
  for (const entry of list) {
    const address = hostAndPort(entry, defaultPort)
    try {
      return await asking({ ...tls, ...address }, credentials, (command) => ask(command, address))
    } catch (error) {
      failure = new Error(`${entry}: ${error.message}`, { cause: error })
    }
  }
  throw failure
}

async function masterAddress(redis, tls, credentials) {
  const own = {
    timeout: credentials.timeout,
    username: redis.sentinel_username,
    password: redis.sentinel_password,
  }
  return firstOf(redis.sentinels, 26379, tls, own, async (command) => {
    const answer = await command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', redis.sentinel_name)
    if (!answer) throw new Error(`no master called ${redis.sentinel_name}`)
    return { host: answer[0], port: Number(answer[1]) }
  })
}

async function slotOwner(redis, tls, credentials, key) {
  return firstOf(redis.cluster, DEFAULT_PORT, tls, credentials, async (command, seed) => {
    const slot = Number(await command('CLUSTER', 'KEYSLOT', key))
    const ranges = await command('CLUSTER', 'SLOTS')
    const range = ranges.find(([from, to]) => Number(from) <= slot && slot <= Number(to))
    if (!range) throw new Error(`nobody serves slot ${slot}`)
    const [host, port] = range[2]
    // A node that does not know its own address says '' (or '?'): it is the one that was asked.
    return { host: host && host !== '?' ? host : seed.host, port: Number(port) }
  })
}

/** Open a client to the node that holds `key`. */
async function open(redis, key) {
  const url = redis.url ? ofUrl(redis.url) : {}
  const tls = url.tls || redis.tls ? await tlsOptions(redis) : {}
  const credentials = {
    username: redis.username || url.username,
    password: await password(redis, url.password),
    database: redis.database === '' ? url.database : redis.database,
    timeout: redis.connect_timeout_ms,
  }
  if (redis.cluster.length > 0) {
    const single = { ...credentials, database: '' }
    return connect({ ...tls, ...(await slotOwner(redis, tls, single, key)) }, single)
  }
  if (redis.sentinels.length > 0) {
    return connect({ ...tls, ...(await masterAddress(redis, tls, credentials)) }, credentials)
  }
  if (redis.path) return connect({ path: redis.path }, credentials)
  const address = url.address ?? { host: redis.host || '127.0.0.1', port: redis.port || DEFAULT_PORT }
  return connect({ ...tls, ...address }, credentials)
}

module.exports = { open, discard }
