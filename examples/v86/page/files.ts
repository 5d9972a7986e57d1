/** Files of the page's server. */
export class Files {
  readonly #onProgress: (done: number, all: number) => void
  #done = 0
  #all = 0

  /** @param onProgress - told how many bytes of how many are there, of all that are being fetched */
  constructor(onProgress: (done: number, all: number) => void) {
    this.#onProgress = onProgress
  }

  async fetch(name: string): Promise<ArrayBuffer> {
    const response = await fetch(name)
    if (!response.ok || response.body === null) throw new Error(`${name}: ${response.status} ${response.statusText}`)
    const bytes = new Uint8Array(Number(response.headers.get('content-length')))
    this.#all += bytes.length
    let at = 0
    for (const reader = response.body.getReader(); ; ) {
      const { value } = await reader.read()
      if (value === undefined) return bytes.buffer
      bytes.set(value, at)
      at += value.length
      this.#done += value.length
      this.#onProgress(this.#done, this.#all)
    }
  }
}
