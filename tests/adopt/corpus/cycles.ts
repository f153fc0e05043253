import { appSchema, tableSchema } from '@nozbe/watermelondb'

const names = ['teams', 'matches', 'venues']

export default appSchema({
  version: 1,
  tables: [
    tableSchema({
      name: 'teams',
      columns: [
        { name: 'last_match_id', type: 'string', isOptional: true },
        { name: 'home_venue_id', type: 'string' },
      ],
    }),
    tableSchema({
      name: 'matches',
      columns: [
        { name: 'team_id', type: 'string' },
        { name: 'rival_team_id', type: 'string' },
        { name: 'venue_id', type: 'string' },
      ],
    }),
    tableSchema({ name: 'venues', columns: [{ name: 'team_id', type: 'string', isOptional: true }] }),
  ].filter(({ name }) => names.includes(name)),
})
