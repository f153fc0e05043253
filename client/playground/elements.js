// Elements that are made once and stay: focus, and what is being typed, survive every change around them.

/** An element with attributes (functions listen, everything else is set) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value)
    else if (name in element) element[name] = value
    else element.setAttribute(name, value)
  }
  element.append(...children)
  return element
}

/**
 * Keep one child per item, in their order. `make(item)` makes what is new, as `{ element, update(item) }`.
 *
 * Focus inside a child that goes moves to the same control (by its class) of a neighbor, else to `fallback`.
 */
export function keep(parent, items, make, fallback) {
  const kept = (parent.kept ??= new Map())
  const keys = new Set(items.map((item) => item.key))
  for (const [key, { element }] of kept) {
    if (keys.has(key)) continue
    const focused = element.contains(document.activeElement) ? document.activeElement : null
    const neighbor = element.nextElementSibling ?? element.previousElementSibling
    element.remove()
    kept.delete(key)
    if (focused) {
      const same = focused.classList[0] && neighbor?.querySelector(`.${focused.classList[0]}`)
      ;(same || fallback)?.focus()
    }
  }
  items.forEach((item, place) => {
    if (!kept.has(item.key)) kept.set(item.key, make(item))
    const { element, update } = kept.get(item.key)
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place])
    update(item)
  })
}

/** Show a value in a field, unless something else is being typed there. */
export function show(field, value) {
  if (field.shown === undefined || field.value === field.shown) field.value = value
  field.shown = value
}
