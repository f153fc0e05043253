// A clinic's app: sixty tables, most of them built from a few lists, as grown apps do.
import { appSchema, tableSchema, type ColumnSchema } from '@nozbe/watermelondb'

const times: ColumnSchema[] = [
  { name: 'created_at', type: 'number' },
  { name: 'updated_at', type: 'number' },
]
const text = (name: string): ColumnSchema => ({ name, type: 'string' })
const optional = (column: ColumnSchema): ColumnSchema => ({ ...column, isOptional: true })
const key = (name: string): ColumnSchema => ({ name, type: 'string', isIndexed: true })

const entities = [
  'clinic', 'ward', 'bed', 'patient', 'doctor', 'nurse', 'visit', 'diagnosis_note', 'prescription', 'drug',
  'dose', 'allergy', 'vaccine', 'lab', 'sample', 'result', 'invoice', 'payment', 'insurer', 'policy',
]
const kinds = ['', '_tag', '_comment']
const plural = (word: string) => (word.endsWith('y') ? `${word.slice(0, -1)}ies` : `${word}s`)

export const schema = appSchema({
  version: 1,
  tables: entities.flatMap((entity, index) =>
    kinds.map((kind) =>
      tableSchema({
        name: plural(entity + kind),
        columns: [
          ...(kind ? [key(`${entity}_id`)] : []),
          ...(index && !kind ? [optional(key(`${entities[index - 1]}_id`))] : []),
          text('title'),
          optional(text('notes')),
          { name: 'amount', type: 'number' },
          { name: 'is_open', type: 'boolean' },
          ...times,
        ],
      }),
    ),
  ),
})
