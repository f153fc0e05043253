import { appSchema, tableSchema } from '@nozbe/watermelondb'

export default appSchema({
  version: 1,
  tables: [
    tableSchema({ name: 'posts', columns: [{ name: 'meta', type: 'string', isOptional: true }, { name: 'written_on', type: 'number' }, { name: 'author', type: 'string' }] }),
    tableSchema({ name: 'members', columns: [{ name: 'name', type: 'string' }] }),
    tableSchema({ name: 'comments', columns: [{ name: 'on', type: 'string' }, { name: 'post_id', type: 'string' }, { name: 'score', type: 'number' }] }),
  ],
})
