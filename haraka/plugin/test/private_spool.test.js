'use strict'

// Mail addresses stand in the spool: whatever the umask of Haraka, its user alone reads them.

const assert = require('node:assert/strict')
const { readdirSync, statSync } = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const { SpoolFile } = require('../lib/spool_file')
const { SpoolHome } = require('../lib/spool_home')
const { WantedHeaders } = require('../lib/wanted_headers')
const { temporaryDirectory } = require('./support/process')

for (const umask of [0o000, 0o022, 0o077]) {
  test(`under umask ${umask.toString(8)}`, async () => {
    const { dir, remove } = temporaryDirectory()
    const before = process.umask(umask)
    try {
      const root = path.join(dir, 'made', 'spool')
      const home = new SpoolHome(root, 'abcdef012345', false)
      const file = await SpoolFile.create(path.join(await home.dir(), '1.spool'), false)
      await new WantedHeaders(home, 'key', { warn: assert.fail }).write(['x-campaign'])
      const found = readdirSync(dir, { recursive: true, withFileTypes: true })
      assert.ok(found.length >= 5)
      for (const each of found) {
        const { mode } = statSync(path.join(each.parentPath, each.name))
        if (each.isSocket()) continue // in a directory that nobody else enters
        assert.equal((mode & 0o777).toString(8), each.isDirectory() ? '700' : '600', each.name)
      }
      await file.close()
      await home.close()
    } finally {
      process.umask(before)
      remove()
    }
  })
}
