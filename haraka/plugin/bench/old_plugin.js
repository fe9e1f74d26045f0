'use strict'

// haraka-plugin-accounting-files 0.7.0, the plugin that this one replaces, for comparison. It does not start on Node 20, so
// three lines of it are mended; what a record costs is left alone.

const { mkdtempSync, readFileSync, rmSync } = require('node:fs')
const Module = require('node:module')
const os = require('node:os')
const path = require('node:path')

const FILE = require.resolve('haraka-plugin-accounting-files')
const MENDED = [
  // The dateformat that npm installs today is an ES module.
  ["require('dateformat')", 'module.dateFormat'],
  // haraka-config gives objects without a prototype.
  [/\b(cfg(?:\.main)?)\.hasOwnProperty\(/g, 'Object.hasOwn($1, '],
  // A file of nothing.
  ['fs.writeFileSync(filename);', "fs.writeFileSync(filename, '');"],
]

/** {plugin, remove}: the old plugin with its files in a directory of its own, at its defaults. */
async function loadOldPlugin() {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-old-'))
  const source = MENDED.reduce((text, [from, to]) => text.replace(from, to), readFileSync(FILE, 'utf8'))
  const module = new Module(FILE)
  module.filename = FILE
  module.paths = Module._nodeModulePaths(path.dirname(FILE))
  module.dateFormat = (await import('dateformat')).default
  module._compile(source, FILE)
  const plugin = Object.assign(module.exports, {
    config: { get: () => Object.assign(Object.create(null), { main: { path: path.join(dir, 'files') } }) },
    register_hook: () => {},
    loginfo: () => {},
  })
  plugin.register()
  plugin.init_plugin(() => {})
  return { plugin, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

module.exports = { loadOldPlugin }
