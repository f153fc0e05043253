export const schema = 7
