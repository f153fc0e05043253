import { appSchema, tableSchema } from '@nozbe/watermelondb'

export default appSchema({
  version: 3,
  tables: [
    tableSchema({ name: 'lists', columns: [{ name: 'color', type: 'string', isOptional: true }] }),
    tableSchema({ name: 'items', columns: [{ name: 'list_id', type: 'string', isIndexed: true }] }),
  ],
})
