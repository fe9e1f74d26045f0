'use strict'

// node test/breaking.js [name]: breaks the plugin as breakages.js says, and looks whether its tests notice. Not part of
// `npm test`. Works on a copy; prints one line each, and fails where a breakage goes unnoticed.

const { spawnSync } = require('node:child_process')
const { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { BREAKAGES, edited } = require('./breakages')
const { binary } = require('./support/valkey')

const PLUGIN = path.join(__dirname, '..')

function copy() {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-breakage-'))
  const plugin = path.join(dir, 'haraka', 'plugin')
  cpSync(PLUGIN, plugin, { recursive: true, filter: (file) => path.basename(file) !== 'node_modules' })
  cpSync(path.join(PLUGIN, '..', '..', 'schemas', 'samples'), path.join(dir, 'schemas', 'samples'), {
    recursive: true,
  })
  symlinkSync(path.join(PLUGIN, 'node_modules'), path.join(plugin, 'node_modules'))
  return { dir, plugin }
}

/** Whether the tests notice. */
function isNoticed(breakage) {
  const [, file, , , tests] = breakage
  const { dir, plugin } = copy()
  try {
    const target = path.join(plugin, file)
    writeFileSync(target, edited(readFileSync(target, 'utf8'), breakage))
    const files = tests.split(' ').map((test) => path.join('test', `${test}.test.js`))
    // Without it the links of node_modules would lead back to the plugin that is not broken.
    const env = { ...process.env, VALKEY_SERVER: binary(), NODE_PRESERVE_SYMLINKS: '1' }
    const { status } = spawnSync(process.execPath, ['--test', ...files], {
      cwd: plugin,
      env,
      timeout: 180_000,
    })
    return status !== 0
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function main() {
  const nothing = [
    'nothing',
    'lib/text.js',
    'const MAX_BYTES = 8192',
    'const MAX_BYTES = 8192',
    'event samples plugin spool',
  ]
  if (isNoticed(nothing)) throw new Error('the tests are red without a breakage')
  const chosen = BREAKAGES.filter(([name]) => name.includes(process.argv[2] ?? ''))
  const missed = chosen.filter((breakage) => {
    const noticed = isNoticed(breakage)
    console.log(`${noticed ? 'red  ' : 'GREEN'} ${breakage[0]}`)
    return !noticed
  })
  process.exitCode = missed.length > 0 ? 1 : 0
}

main()
