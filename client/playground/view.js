// What a device looks like. Tables and fields come from the schema.

import { AUTOMATIC, clockTime, titleColumn, titleOf } from './device'
import { h, keep, show } from './elements'

/** The card of a device, which follows it from now on. */
export function deviceCard(device) {
  const { tables } = device
  const band = h('p', { className: 'band' })
  const clock = h('p', { className: 'clock' })
  const log = h('ul', { className: 'log' })
  const sync = h('button', { className: 'main sync', click: () => device.sync() })
  const line = toggle('line', 'Online', device.isOnline, device.setOnline)
  const lose = toggle('lose', 'Lose the answers', device.losesAnswers, (isOn) => {
    device.losesAnswers = isOn
  })
  const sections = tables.map((table) => tableSection(device, table))
  const id = device.name.toLowerCase().replaceAll(' ', '-')
  const card = h(
    'article',
    { id, 'aria-label': device.name },
    h('div', { className: 'bar' }, h('h2', {}, device.name), sync),
    h('div', { className: 'bar' }, line, lose),
    band,
    clock,
    ...sections.map(({ element }) => element),
    h('h3', {}, 'Over the network'),
    log,
  )

  async function render() {
    const records = {}
    for (const { name } of tables) records[name] = await device.database.get(name).query().fetch()
    const waiting = Object.values(records)
      .flat()
      .filter(({ syncStatus }) => syncStatus !== 'synced').length
    card.classList.toggle('offline', !device.isOnline)
    band.hidden = device.isOnline
    band.textContent = `Offline. Changes are kept here: ${waiting} not sent yet.`
    sync.textContent = device.isSyncing ? 'Syncing…' : 'Sync'
    // A button that is disabled while it works would lose the focus.
    sync.setAttribute('aria-disabled', String(device.isSyncing || !device.isOnline))
    clock.replaceChildren('Last pull: ', device.pulledUpTo ? timeOf(device.pulledUpTo) : 'none yet')
    for (const section of sections) section.update(records)
    keep(log, device.log, logEntry)
  }
  // One after the other, so that the newest state is drawn last.
  let drawn = Promise.resolve()
  device.changed = () => {
    drawn = drawn.then(render)
  }
  device.database.withChangesForTables(tables.map(({ name }) => name)).subscribe(device.changed)
  return card
}

function toggle(className, text, checked, set) {
  const change = (event) => set(event.target.checked)
  const input = h('input', { type: 'checkbox', role: 'switch', checked, change })
  return h('label', { className }, input, text)
}

function timeOf(ms) {
  return h('time', { dateTime: new Date(ms).toISOString(), title: ms }, clockTime(ms))
}

/** All records of a table, and a button that adds one. */
function tableSection(device, table) {
  const rows = h('div', {})
  const add = h('button', { className: 'add', click: create })
  const needed = table.columns.filter(({ parent, isOptional }) => parent && !isOptional)
  const one = (table.name[0].toUpperCase() + table.name.slice(1)).replace(/s$/, '')
  const element = h('section', { 'data-table': table.name }, h('h3', {}, table.name), rows, add)
  let now = {}

  function create() {
    return device.database.write(() =>
      device.database.get(table.name).create((record) => {
        const title = titleColumn(table.columns)
        if (title) record._setRaw(title.name, `${one} ${now[table.name].length + 1}`)
        for (const column of needed) {
          record._setRaw(column.name, now[column.parent].at(-1)?.id ?? '')
        }
      }),
    )
  }

  function update(records) {
    now = records
    const missing = needed.find(({ parent, cascades }) => cascades && records[parent].length === 0)
    add.disabled = Boolean(missing)
    add.textContent = `Add to ${table.name}${missing ? `: needs one of ${missing.parent}` : ''}`
    const byAge = (a, b) => (a._raw.created_at ?? 0) - (b._raw.created_at ?? 0)
    const items = [...records[table.name]].sort(byAge)
    const row = ({ record }) => recordRow(device, table, record)
    keep(rows, items.map((record) => ({ key: record.id, record, records })), row, add)
  }
  return { element, update }
}

/** A record: the first boolean, the first text and what it belongs to in a line, the rest on demand. */
function recordRow(device, table, record) {
  const fields = table.columns.map((column) => [column, columnField(device, record, column)])
  const first = (test) => fields.find(([column]) => test(column))
  const flag = first(({ type }) => type === 'boolean')
  const text = first((column) => column === titleColumn(table.columns))
  const line = new Set([flag, text, first(({ parent }) => parent)])
  line.delete(undefined)
  // A box beside a text needs no more; alone it would mean nothing.
  if (flag && !text) flag[1].element.append(flag[0].name)
  const rest = fields.filter((field) => !line.has(field))
  const remove = h('button', {
    className: 'delete',
    click: () => device.database.write(() => record.experimentalMarkAsDeleted()),
  })
  remove.textContent = '✕'
  const state = h('p', { className: 'state' })
  const element = h(
    'div',
    { className: 'row', role: 'group' },
    h('div', { className: 'fields' }, ...[...line].map(([, { element }]) => element), remove),
    state,
  )
  const names = rest.map(([{ name }]) => name).join(', ')
  const summary = h('summary', { className: 'more' }, names)
  const labels = rest.map(([{ name }, { element }]) => h('label', {}, h('span', {}, name), element))
  if (rest.length > 0) element.append(h('details', {}, summary, ...labels))

  function update({ records }) {
    const title = titleOf(table.columns, record._raw) || record.id
    element.setAttribute('aria-label', `${table.name}: ${title}`)
    remove.setAttribute('aria-label', `Delete ${title}`)
    summary.setAttribute('aria-label', `${names} of ${title}`)
    for (const [{ name }, field] of fields) field.update(`${name} of ${title}`, records)
    const news = device.arrivals.get(`${table.name} ${record.id}`) ?? []
    element.classList.toggle('lit', news.length > 0)
    state.replaceChildren(
      ...pending(record).map((text) => h('span', { className: 'pending' }, text)),
      ...news.map((text) => h('span', { className: 'from' }, text)),
    )
  }
  return { element, update }
}

/** What WatermelonDB keeps of a record until it is pushed. */
function pending({ syncStatus, _raw }) {
  if (syncStatus === 'synced') return []
  if (syncStatus === 'created') return ['new, not sent']
  const names = _raw._changed.split(',').filter((name) => !AUTOMATIC.includes(name))
  return [`${names.join(', ')} not sent`]
}

/** A field for a column, as `{ element, update(label, records) }`. */
function columnField(device, record, column) {
  const { name, type, parent, isDate, isOptional } = column
  const empty = isOptional ? null : { string: '', number: 0, boolean: false }[type]
  const set = (value) => record.database.write(() => record.update(() => record._setRaw(name, value)))

  if (AUTOMATIC.includes(name) && isDate) {
    const element = h('time')
    const update = () => {
      element.textContent = new Date(record._raw[name]).toLocaleString()
    }
    return { element, update }
  }
  if (type === 'boolean') {
    const input = h('input', { type: 'checkbox', change: () => set(input.checked) })
    const update = (label) => {
      input.setAttribute('aria-label', label)
      input.checked = record._raw[name]
    }
    return { element: h('label', { className: 'tick', title: name }, input), update }
  }
  if (parent) return relationField(device, record, column, set)
  if (column.isSpace) return spaceField(device, record, column, set)
  const kind = type === 'string' ? 'text' : isDate ? 'datetime-local' : 'number'
  const input = h('input', { type: kind, step: isDate ? 1 : 'any', change })
  function change() {
    input.shown = input.value
    if (type === 'string') return set(input.value || empty)
    const value = isDate ? Date.parse(input.value) : input.valueAsNumber
    return set(Number.isNaN(value) ? empty : value)
  }
  const update = (label) => {
    input.setAttribute('aria-label', label)
    const value = record._raw[name]
    show(input, isDate && value !== null ? localTime(value) : String(value ?? ''))
  }
  return { element: input, update }
}

/** What a record belongs to, to choose from the records of the parent's table. */
function relationField(device, record, { name, parent, isOptional }, set) {
  const { columns } = device.tables.find((table) => table.name === parent)
  const select = h('select', { change: () => set(select.value || (isOptional ? null : '')) })
  function update(label, records) {
    const chosen = record._raw[name] ?? ''
    const known = records[parent].map(({ id, _raw }) => [id, titleOf(columns, _raw) || id])
    choose(select, label, chosen, isOptional || !chosen ? [['', `no ${name}`], ...known] : known)
  }
  return { element: select, update }
}

/** Whose a record is, to choose from the spaces that its user is in. */
function spaceField(device, record, { name }, set) {
  const select = h('select', { change: () => set(select.value || null) })
  function update(label) {
    const known = device.spaces.map((space) => [space.id, space.name])
    choose(select, label, record._raw[name] ?? '', [['', 'personal'], ...known])
  }
  return { element: select, update }
}

/** Offer choices, and what is chosen also if it is not on this device. */
function choose(select, label, chosen, known) {
  select.setAttribute('aria-label', label)
  const isHere = !chosen || known.some(([id]) => id === chosen)
  const choices = isHere ? known : [...known, [chosen, `${chosen} (not here)`]]
  const options = choices.map(([key, text]) => ({ key, text }))
  keep(select, options, ({ key }) => {
    const option = h('option', { value: key })
    return { element: option, update: ({ text }) => (option.textContent = text) }
  })
  select.value = chosen
}

function localTime(ms) {
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}

function logEntry({ text, json, time, wrong }) {
  const said = [timeOf(time), ` ${text}`]
  const element = h('li', { className: wrong ? 'wrong' : '' })
  // It scrolls, which the keyboard can do where the focus can be.
  const pre = h('pre', { tabIndex: 0 }, JSON.stringify(json, null, 2) ?? '')
  element.append(...(json ? [h('details', {}, h('summary', {}, ...said), pre)] : said))
  return { element, update: () => {} }
}
