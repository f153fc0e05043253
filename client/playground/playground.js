// Two WatermelonDB devices of one user, side by side. Bundled by `make playground`.

import { Database } from '@nozbe/watermelondb'
import LokiJSAdapter from '@nozbe/watermelondb/adapters/lokijs'
import { synchronize } from '@nozbe/watermelondb/sync'
import { LokiMemoryAdapter } from 'lokijs'
import { createBackend } from '../src/backend'
import { migrations, modelClasses, schema } from './schema.js'

const BACKEND =
  new URLSearchParams(location.search).get('backend') || new URL('v1', location.href).href
const TABLES = ['projects', 'tasks']
const LOG_LENGTH = 6

/** A device: its own database, its own session, and what went over the network. */
function createDevice(name) {
  const database = new Database({
    adapter: new LokiJSAdapter({
      schema,
      migrations,
      dbName: name,
      useWebWorker: false,
      useIncrementalIndexedDB: true,
      // Gone with the page. An app leaves this out, and its records stay.
      extraLokiOptions: { adapter: new LokiMemoryAdapter(), autosave: false },
    }),
    modelClasses,
  })
  let tokens = null
  const backend = createBackend({
    url: BACKEND,
    database,
    storage: {
      load: async () => tokens,
      save: async (next) => {
        tokens = next
      },
    },
    onSignedOut: () => say('The session has ended. Reload the page.', true),
  })
  const device = { name, database, backend, online: true, syncing: false, clock: null, log: [] }

  device.sync = async () => {
    device.syncing = true
    render(device)
    const log = {}
    try {
      if (!device.online) throw new Error('offline')
      // An app calls backend.sync(); this page shows what goes over the network.
      await synchronize({
        database,
        log,
        pullChanges: async (request) => {
          const pulled = await backend.pullChanges(request)
          note(device, '↓', pulled.changes, `clock ${pulled.timestamp}`)
          return pulled
        },
        pushChanges: async (request) => {
          note(device, '↑', request.changes, `seen up to ${request.lastPulledAt}`)
          return backend.pushChanges(request)
        },
        migrationsEnabledAtVersion: 1,
      })
      device.clock = log.newLastPulledAt
      for (const { resolved } of log.resolvedConflicts || []) {
        device.log.unshift({ text: `⇄ merged “${resolved.title || resolved.name}”`, json: resolved })
      }
    } catch (error) {
      device.log.unshift({ text: `✕ ${error.message}`, wrong: true })
    }
    device.log.length = Math.min(device.log.length, LOG_LENGTH)
    device.syncing = false
    await render(device)
  }
  return device
}

function note(device, arrow, changes, when) {
  const counts = Object.entries(changes).flatMap(([table, change]) =>
    ['created', 'updated', 'deleted']
      .filter((bucket) => change[bucket].length > 0)
      .map((bucket) => `${table} ${change[bucket].length} ${bucket}`),
  )
  device.log.unshift({ text: `${arrow} ${counts.join(', ') || 'nothing'}, ${when}`, json: changes })
}

/** An element with attributes (functions listen, everything else is set) and children. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value)
    else if (name in element) element[name] = value
    else element.setAttribute(name, value)
  }
  element.append(...children.filter((child) => child !== null))
  return element
}

/** What WatermelonDB keeps of a record until it is pushed. */
function pending(record) {
  if (record.syncStatus === 'synced') return null
  const what = record.syncStatus === 'created' ? 'new' : record._raw._changed.replaceAll(',', ', ')
  return h('span', { className: 'pending', title: 'not pushed yet' }, what)
}

function textInput(record, property, label) {
  return h('input', {
    type: 'text',
    value: record[property],
    'aria-label': label,
    change: (event) =>
      record.database.write(() => record.update((r) => void (r[property] = event.target.value))),
  })
}

function deleteButton(label, destroy) {
  return h('button', { className: 'delete', 'aria-label': label, click: destroy }, '✕')
}

function taskRow(device, task) {
  return h(
    'div',
    { className: task.isCompleted ? 'row task done' : 'row task' },
    h('input', {
      type: 'checkbox',
      checked: task.isCompleted,
      'aria-label': 'done',
      change: (event) =>
        device.database.write(() =>
          task.update((t) => void (t.isCompleted = event.target.checked)),
        ),
    }),
    textInput(task, 'title', 'task'),
    pending(task),
    deleteButton('delete the task', () =>
      device.database.write(() => task.markAsDeleted()),
    ),
  )
}

function projectSection(device, project, tasks) {
  const add = () =>
    device.database.write(() =>
      device.database.get('tasks').create((task) => {
        task.title = `Task ${tasks.length + 1}`
        task.project.set(project)
      }),
    )
  const destroy = () =>
    device.database.write(async () => {
      for (const task of tasks) await task.markAsDeleted()
      await project.markAsDeleted()
    })
  return h(
    'section',
    { className: 'project' },
    h(
      'div',
      { className: 'row' },
      textInput(project, 'name', 'project'),
      pending(project),
      deleteButton('delete the project and its tasks', destroy),
    ),
    ...tasks.map((task) => taskRow(device, task)),
    h('button', { className: 'add-task', click: add }, '+ task'),
  )
}

function logEntry({ text, json, wrong }) {
  if (!json) return h('li', { className: wrong ? 'wrong' : '' }, text)
  return h(
    'li',
    {},
    h('details', {}, h('summary', {}, text), h('pre', {}, JSON.stringify(json, null, 2))),
  )
}

async function render(device) {
  const [projects, tasks] = await Promise.all(
    TABLES.map((table) => device.database.get(table).query().fetch()),
  )
  const byAge = (a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)
  const addProject = () =>
    device.database.write(() =>
      device.database.get('projects').create((project) => {
        project.name = `Project ${projects.length + 1}`
      }),
    )
  const switchLine = () => {
    device.online = !device.online
    render(device)
  }
  device.card.className = device.online ? '' : 'offline'
  device.card.replaceChildren(
    h(
      'div',
      { className: 'bar' },
      h('h2', {}, device.name),
      h('button', { className: 'line', click: switchLine }, device.online ? 'Go offline' : 'Go online'),
      h(
        'button',
        { className: 'main sync', disabled: device.syncing || !device.online, click: device.sync },
        device.syncing ? 'Syncing…' : 'Sync',
      ),
    ),
    h(
      'p',
      { className: 'clock' },
      `${device.online ? 'online' : 'offline'} · last pulled at ${device.clock ?? 'no time yet'}`,
    ),
    ...projects.sort(byAge).map((project) =>
      projectSection(
        device,
        project,
        tasks.filter((task) => task.projectId === project.id).sort(byAge),
      ),
    ),
    h('button', { className: 'add-project', click: addProject }, '+ project'),
    h('ul', { className: 'log' }, ...device.log.map(logEntry)),
  )
}

function say(text, wrong = false) {
  const status = document.getElementById('status')
  status.textContent = text
  status.className = wrong ? 'wrong' : ''
}

async function start() {
  document.getElementById('backend').textContent = BACKEND
  const devices = ['Phone', 'Tablet'].map(createDevice)
  const [phone, tablet] = devices
  const email = `${crypto.getRandomValues(new Uint32Array(2)).join('')}@example.com`
  const password = `${crypto.getRandomValues(new Uint32Array(4)).join('-')}`
  await phone.backend.register({ email, password, deviceName: phone.name })
  await tablet.backend.login({ email, password, deviceName: tablet.name })
  for (const device of devices) {
    device.card = h('article', { id: device.name.toLowerCase() })
    document.getElementById('devices').append(device.card)
    device.database.withChangesForTables(TABLES).subscribe(() => render(device))
  }
  const both = document.getElementById('sync-both')
  both.addEventListener('click', async () => {
    both.disabled = true
    for (const device of devices) if (device.online) await device.sync()
    both.disabled = false
  })
  both.disabled = false
  say(`Signed in as ${email}, on both.`)
}

start().catch((error) => say(`${BACKEND} cannot be used: ${error.message}`, true))
