import { appSchema, tableSchema } from '@nozbe/watermelondb'

export default appSchema({
  version: 1,
  tables: [
    tableSchema({ name: 'recipes', columns: [{ name: 'title', type: 'string' }] }),
    tableSchema({ name: 'people', columns: [{ name: 'first_name', type: 'string' }] }),
    tableSchema({
      name: 'comments',
      columns: [
        { name: 'recipe_id', type: 'string', isIndexed: true },
        { name: 'person_id', type: 'string', isIndexed: true },
        { name: 'answered_comment_id', type: 'string', isOptional: true },
        { name: 'body', type: 'string' },
      ],
    }),
  ],
})
