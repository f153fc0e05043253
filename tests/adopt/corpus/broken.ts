export const schema = {{
