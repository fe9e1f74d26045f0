'use strict'

// Run by npm where it is given this folder (`npm install <checkout>/haraka/plugin`): it links the folder and installs nothing
// that is needed here. In a package there is no such file, and npm brings the dependencies.

const { spawnSync } = require('node:child_process')

const { problem } = require('./lib/client')

/** How to reach the registry is meant for here too, unlike what npm was told for the folder in which it was called. */
const HOW =
  /^npm_config_(registry|userconfig|globalconfig|cache|cafile|ca|(https_|http_)?proxy|noproxy|strict_ssl|.*offline)$/i

function install() {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name) || HOW.test(name)),
  )
  const args = ['ci', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const npm = process.env.npm_execpath ?? ''
  const [command, ...first] = npm.endsWith('npm-cli.js') ? [process.execPath, npm] : ['npm']
  return spawnSync(command, [...first, ...args], { cwd: __dirname, env, stdio: 'inherit' }).status ?? 1
}

if (problem()) {
  process.exitCode = install()
  if (process.exitCode !== 0) console.error(`accounting-stream: ${problem()}`)
}
