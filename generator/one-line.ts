/** A text of several lines in one: YAML and LaTeX may break it anywhere. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim()
}
