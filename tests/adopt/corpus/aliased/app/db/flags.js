export const open = { name: 'is_open', type: 'boolean' }
