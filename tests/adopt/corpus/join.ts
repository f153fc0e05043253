import { appSchema, tableSchema } from '@nozbe/watermelondb'

const named = (name: string) => tableSchema({ name, columns: [{ name: 'name', type: 'string' }] })

export default appSchema({
  version: 1,
  tables: [
    named('posts'),
    named('tags'),
    tableSchema({
      name: 'post_tags',
      columns: [
        { name: 'post_id', type: 'string', isIndexed: true },
        { name: 'tag_id', type: 'string', isIndexed: true },
      ],
    }),
  ],
})
