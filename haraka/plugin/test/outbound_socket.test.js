'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { attemptOf, watch } = require('../lib/outbound_socket')

class Item {
  delivered = []
  try_deliver_host_on_socket(mx, host, port, socket) {
    this.delivered.push([mx, host, port, socket])
    return 'result'
  }
}

const mx = () => ({ exchange: '192.0.2.1' })
const socket = (localAddress) => ({ targetsocket: { localAddress } })

test('an item whose connections are watched delivers as before, and tells its address', () => {
  const item = new Item()
  watch(item)
  const destination = mx()
  assert.equal(item.try_deliver_host_on_socket(destination, 'h', 25, socket('192.0.2.9')), 'result')
  assert.equal(item.delivered.length, 1)
  assert.deepEqual(attemptOf(item), { mx: destination, address: '192.0.2.9' })
})

test('an item that is watched at every attempt is changed once, and no other item is', () => {
  const item = new Item()
  for (let i = 0; i < 3; i++) watch(item)
  item.try_deliver_host_on_socket(mx(), 'h', 25, socket('192.0.2.9'))
  assert.equal(item.delivered.length, 1)
  assert.deepEqual(Object.keys(item), ['delivered'], 'nothing that would be written to a queue file')
  assert.equal(Object.hasOwn(new Item(), 'try_deliver_host_on_socket'), false)
})

test('what an earlier attempt left is forgotten when the next one begins', () => {
  const item = new Item()
  watch(item)
  item.try_deliver_host_on_socket(mx(), 'h', 25, socket('192.0.2.9'))
  watch(item)
  assert.equal(attemptOf(item), undefined)
})

test('the recipients that a split puts under a new item are found by their destination', () => {
  const item = new Item()
  watch(item)
  const destination = mx()
  item.try_deliver_host_on_socket(destination, 'h', 25, socket('192.0.2.9'))
  assert.equal(attemptOf(new Item(), destination).address, '192.0.2.9')
})

test('a deferral after every host was tried has no address: which one would it be', () => {
  const item = new Item()
  watch(item)
  item.try_deliver_host_on_socket(mx(), 'h', 25, socket('192.0.2.9'))
  assert.equal(attemptOf(item, undefined, 'Tried all MXs'), undefined)
})

test('an item of an unknown kind is left as it is', () => {
  const plain = { todo: {} }
  watch(plain)
  assert.deepEqual(plain, { todo: {} })
  class Changed {
    try_deliver_host_on_socket(options) {
      return options
    }
  }
  const changed = new Changed()
  watch(changed)
  assert.equal(Object.hasOwn(changed, 'try_deliver_host_on_socket'), false)
})

test('a delivery goes on where the socket cannot be looked at', () => {
  const item = new Item()
  watch(item)
  assert.equal(item.try_deliver_host_on_socket(undefined, 'h', 25, undefined), 'result')
  assert.equal(attemptOf(item), undefined)
})
