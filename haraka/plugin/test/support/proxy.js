'use strict'

// A TCP proxy in front of a server, with the faults that networks have.

const { once } = require('node:events')
const net = require('node:net')

class Proxy {
  #server
  #pairs = new Set()
  #target
  #mode = 'pass'
  connections = 0

  static async start(target) {
    const proxy = new Proxy()
    proxy.#target = target
    proxy.#server = net.createServer((client) => proxy.#accept(client)).listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    proxy.port = proxy.#server.address().port
    return proxy
  }

  /** pass; swallow: requests arrive, replies do not; stall: neither; refuse: new connections are closed at once. */
  set mode(mode) {
    this.#mode = mode
    for (const { client, upstream } of this.#pairs) {
      if (mode === 'stall') client.pause()
      else client.resume()
      if (mode === 'refuse') upstream.destroy()
    }
  }

  /** Reset every connection. With `afterRequest` only when the next request has been passed on and executed. */
  reset({ afterRequest = false } = {}) {
    if (afterRequest) this.#mode = 'reset'
    else for (const { client } of this.#pairs) client.resetAndDestroy()
  }

  #accept(client) {
    this.connections++
    if (this.#mode === 'refuse') return client.resetAndDestroy()
    const upstream = net.connect(this.#target, '127.0.0.1')
    const pair = { client, upstream }
    this.#pairs.add(pair)
    client.on('data', (data) => upstream.write(data))
    upstream.on('data', (data) => this.#reply(client, data))
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ]) {
      one.on('error', () => {})
      one.on('close', () => {
        other.destroy()
        this.#pairs.delete(pair)
      })
    }
    if (this.#mode === 'stall') client.pause()
  }

  #reply(client, data) {
    if (this.#mode === 'pass') client.write(data)
    if (this.#mode === 'reset') {
      this.#mode = 'pass'
      client.resetAndDestroy()
    }
  }

  async stop() {
    for (const { client } of this.#pairs) client.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

module.exports = { Proxy }
