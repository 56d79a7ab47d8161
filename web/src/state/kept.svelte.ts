// State that survives a reload: small things in localStorage, pictures in IndexedDB.

export function kept<T extends object>(key: string, initial: T): T {
  const value: T = $state({ ...initial, ...read<T>(key) })
  $effect.root(() => {
    $effect(() => write(key, JSON.stringify(value)))
  })
  return value
}

function read<T>(key: string): Partial<T> {
  try {
    return JSON.parse(localStorage.getItem(key) ?? '{}') as Partial<T>
  } catch {
    return {}
  }
}

function write(key: string, text: string): void {
  try {
    localStorage.setItem(key, text)
  } catch {
    // Full or forbidden: the page works on, without memory.
  }
}

function store(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open('lorikeet', 1)
    request.onupgradeneeded = () => request.result.createObjectStore('kept')
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('no storage'))
  })
}

export async function keepLarge(key: string, value: unknown): Promise<void> {
  try {
    const database = await store()
    database.transaction('kept', 'readwrite').objectStore('kept').put(value, key)
  } catch {
    // As above.
  }
}

export async function readLarge<T>(key: string): Promise<T | undefined> {
  try {
    const database = await store()
    return await new Promise((resolve) => {
      const request = database.transaction('kept').objectStore('kept').get(key)
      request.onsuccess = () => resolve(request.result as T | undefined)
      request.onerror = () => resolve(undefined)
    })
  } catch {
    return undefined
  }
}
