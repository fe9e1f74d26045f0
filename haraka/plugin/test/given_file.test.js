'use strict'

// Files that the ini names: what would be waited for, for ever, is refused.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { writeFileSync } = require('node:fs')
const path = require('node:path')
const { after, before, test } = require('node:test')

const { open } = require('../lib/endpoint')
const { readGiven } = require('../lib/given_file')
const { read } = require('../lib/settings')
const { temporaryDirectory } = require('./support/process')

let home
before(() => {
  home = temporaryDirectory()
  execFileSync('mkfifo', [path.join(home.dir, 'pipe')])
  writeFileSync(path.join(home.dir, 'secret'), 'a secret\n')
  writeFileSync(path.join(home.dir, 'large'), 'x'.repeat(5000))
})
after(() => home.remove())

const given = (name) => readGiven(path.join(home.dir, name), 4096)

test('a file is read', { timeout: 10_000 }, async () => {
  assert.equal(String(await given('secret')), 'a secret\n')
})

for (const [name, expected] of Object.entries({
  pipe: /pipe: a regular file expected/,
  '.': /a regular file expected/,
  '../../../../../../../../dev/zero': /a regular file expected/,
  large: /it has more than 4096 bytes/,
  none: /ENOENT/,
})) {
  test(`${name} is refused at once`, { timeout: 10_000 }, () => assert.rejects(given(name), expected))
}

for (const key of ['password_file', 'tls_ca', 'tls_cert', 'tls_key']) {
  test(`a connection whose ${key} is a pipe fails at once`, { timeout: 10_000 }, async () => {
    const { settings } = read({
      redis: { port: 1, tls: key !== 'password_file', [key]: path.join(home.dir, 'pipe') },
    })
    await assert.rejects(open(settings.redis, '{a}'), /pipe: a regular file expected/)
  })
}

test('a credential of systemd is where systemd says', { timeout: 10_000 }, async () => {
  const before = process.env.CREDENTIALS_DIRECTORY
  try {
    process.env.CREDENTIALS_DIRECTORY = home.dir
    assert.equal(String(await readGiven('$CREDENTIALS_DIRECTORY/secret')), 'a secret\n')
    delete process.env.CREDENTIALS_DIRECTORY
    await assert.rejects(readGiven('$CREDENTIALS_DIRECTORY/secret'), /CREDENTIALS_DIRECTORY is not set/)
  } finally {
    if (before !== undefined) process.env.CREDENTIALS_DIRECTORY = before
  }
})
