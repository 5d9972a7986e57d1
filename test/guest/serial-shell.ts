/** A shell that reads commands from a guest's serial port and answers there. */
const bootSeconds = 180
const commandSeconds = 90

/** /init of such a guest. The shell reads from the serial port as from a script: one that edits lines takes a child that ends for the end of its input, and so would the machine end. */
export const serialShellInit = `#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m.ko || echo "insmod $m failed"; done
echo 0 > /proc/sys/kernel/printk
stty -echo -F /dev/ttyS0
echo GUEST-READY
exec sh /dev/ttyS0 </dev/null >/dev/ttyS0 2>&1
`

export abstract class SerialShell {
  /** All that came out of the serial port. */
  output = ''
  /** What went wrong beside the guest, told with every failure. */
  readonly errors: string[] = []
  #asked = 0
  #wake = (): void => {}

  /** Types into the serial port. */
  protected abstract type(text: string): void

  /** Something came out of the serial port. */
  protected heard(text: string): void {
    this.output += text
    this.#wake()
  }

  /** Waits for the shell of a guest that boots. */
  async ready(seconds = bootSeconds): Promise<void> {
    await this.waitFor(/GUEST-READY/, seconds)
    await this.run(':')
  }

  /** Runs a command in the guest's shell. Gives what it printed; throws where it failed. */
  async run(command: string, seconds = commandSeconds): Promise<string> {
    const { text, code } = await this.attempt(command, seconds)
    if (code !== 0) throw new Error(`${command}: exit code ${code}\n${text}`)
    return text
  }

  /** Runs a command that may fail. */
  async attempt(command: string, seconds = commandSeconds): Promise<{ readonly text: string; readonly code: number }> {
    const mark = `m${++this.#asked}m`
    const from = this.output.length
    this.type(`{ ${command}\n} 2>&1; echo "${mark.slice(0, 1)}""${mark.slice(1)} $?"\n`)
    const found = await this.waitFor(new RegExp(`${mark} (\\d+)\\r?\\n`), seconds, from)
    const text = this.output.slice(from, found.index + from).replaceAll('\r', '')
    return { text: text.trim(), code: Number(found[1]) }
  }

  /** Sends a line to the shell, and does not wait for what comes of it. */
  send(line: string): void {
    this.type(`${line}\n`)
  }

  async waitFor(pattern: RegExp, seconds: number, from = 0): Promise<RegExpExecArray> {
    const end = Date.now() + seconds * 1000
    for (;;) {
      const found = pattern.exec(this.output.slice(from))
      if (found !== null) return found
      const left = end - Date.now()
      if (left <= 0) throw new Error(`the guest did not say ${pattern} within ${seconds} s:\n${this.#last(from)}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        setTimeout(resolve, Math.min(left, 1000))
      })
    }
  }

  /** Waits until something is so. */
  async until(isSo: () => boolean, seconds = 30): Promise<void> {
    for (const end = Date.now() + seconds * 1000; !isSo(); ) {
      if (Date.now() > end) throw new Error(`it did not come about within ${seconds} s: ${isSo}\n${this.#last()}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  #last(from = 0): string {
    return [this.output.slice(from).slice(-2000), ...this.errors].join('\n')
  }
}
