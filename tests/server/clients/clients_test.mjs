// Clients of A1111's API that nobody here wrote, against `lorikeet serve` with the tiny model: node --test, with the program and the models folder in
// LORIKEET_PROGRAM and LORIKEET_MODELS.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createInterface } from 'node:readline';

import { StableDiffusionApi } from 'stable-diffusion-client';
import sdwebui from 'node-sd-webui';

const folder = mkdtempSync(join(tmpdir(), 'lorikeet-clients-'));
let server, address;

before(async () => {
  cpSync(process.env.LORIKEET_MODELS, join(folder, 'models'), { recursive: true });
  const words = ['serve', '--port', '0', '--models', join(folder, 'models'), '--outputs', join(folder, 'outputs'), '--data', join(folder, 'data'), '--device', 'cpu', '--threads', '2'];
  server = spawn(process.env.LORIKEET_PROGRAM, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: server.stdout })) {
    address = line;
    break;
  }
});

after(() => {
  server.kill('SIGTERM');
  rmSync(folder, { recursive: true, force: true });
});

const small = { prompt: 'a house', steps: 2, width: 64, height: 64, seed: 3 };
const isPng = (base64) => Buffer.from(base64, 'base64').subarray(1, 4).toString() === 'PNG';

test('node-sd-webui makes a picture, changes it and reads what it says', async () => {
  const client = sdwebui({ apiUrl: address });
  const made = await client.txt2img({ ...small, samplingMethod: 'DPM++ 2M Karras', batchSize: 2, negativePrompt: 'blurry', cfgScale: 5 });
  assert.equal(made.images.length, 2);
  assert.ok(isPng(made.images[0]));
  const info = typeof made.info === 'string' ? JSON.parse(made.info) : made.info;
  assert.deepEqual(info.all_seeds ?? info.allSeeds, [3, 4]);
  const hires = await client.txt2img({ ...small, hires: { steps: 1, denoisingStrength: 0.5, upscaler: 'Latent (nearest)', upscaleBy: 2, resizeWidthTo: 0, resizeHeigthTo: 0 } });
  assert.ok(isPng(hires.images[0]));
  const changed = await client.img2img({ ...small, imageData: [made.images[0]] });
  assert.ok(isPng(changed.images[0]));
  const read = await client.pngInfo({ imageData: made.images[0] });
  assert.match(JSON.stringify(read), /a house/); // it counts the settings as A1111 before 1.9 wrote them, so that those are not looked at
});

test('stable-diffusion-client makes pictures, reads the lists and changes the options', async () => {
  const client = new StableDiffusionApi({ baseUrl: address, timeout: 60_000 });
  const made = await client.txt2img({ ...small, sampler_name: 'Euler a' });
  assert.equal(made.images.length, 1);
  assert.ok(isPng(made.images[0]));
  const models = await client.getSdModels();
  assert.equal(models[0].model_name, 'tiny');
  assert.ok((await client.getSamplers()).some((sampler) => sampler.name === 'DPM++ 2M'));
  assert.ok((await client.getUpscalers()).some((upscaler) => upscaler.name === 'Lanczos'));
  for (const list of [client.getHypernetworks(), client.getFaceRestorers(), client.getRealesrganModels(), client.getPromptStyles()]) assert.ok(Array.isArray(await list));
  assert.equal(typeof (await client.getCmdFlags()), 'object');
  assert.equal((await client.getProgress()).progress, 0);
  assert.equal((await client.getOptions()).CLIP_stop_at_last_layers, 1);
  await client.setOptions({ CLIP_stop_at_last_layers: 2 });
  assert.equal((await client.getOptions()).CLIP_stop_at_last_layers, 2);
  await client.setModel('tiny');
  assert.match(await client.getCurrentModel(), /^tiny/);
  await client.refreshCheckpoints();
});
