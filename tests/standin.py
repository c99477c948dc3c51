"""A whole hub in small: every data set, configuration and revision under its real name with few rows, and a random XLM-R of two layers.

Imported by a process whose environment has XLT_STANDIN_ROWS, it makes the manifest expect that many rows.
"""
import hashlib
import os
import re
from pathlib import Path

import xlt.data.hub
from xlt.data.hub_pins import CHECKPOINTS, REPOSITORIES
from xlt.data.hub import LANGUAGE_ROWS
from xlt.data.hub_rows import UNLABELLED
from xlt.languages.measures import language_table

TEXTS = ('premise', 'hypothesis', 'question1', 'question2', 'sentence1', 'sentence2', 'ctx', 'context', 'question', 'source_sentence', 'target_sentence')
BUCC = ('de', 'fr', 'ru', 'zh')

if rows := int(os.environ.get('XLT_STANDIN_ROWS', 0)):
    xlt.data.hub_pins.MANIFEST.update(dict.fromkeys(xlt.data.hub_pins.MANIFEST, rows) | {split: rows * 9 for split, _ in LANGUAGE_ROWS})  # nine languages in one split
    UNLABELLED.update(dict.fromkeys(UNLABELLED, 1)), LANGUAGE_ROWS.update(dict.fromkeys(LANGUAGE_ROWS, rows))


def own(row: dict, mark: str) -> dict:
    "A row whose texts stand nowhere else, nor do their sentences."
    row = dict(row) | {k: re.sub(r'([.?!]|(?<![.?!])$)', rf' {mark}\1', row[k]) for k in TEXTS if k in row}
    if 'tokens' in row: row = {k: [*v, mark if k == 'tokens' else v[-1]] for k, v in row.items()}
    return row


def write_data(root: Path, rows: int) -> None:
    "The data sets, Wikipedia among them."
    from datasets import Dataset, disable_progress_bars

    from hub import every_split, write
    disable_progress_bars()
    for split, found, features in every_split(rows):
        tag = hashlib.sha1(str(split).encode()).hexdigest()[:6]
        write(root, split, [own(row, f'{tag}{i}') for i, row in enumerate(found)], features)
    for code in language_table().index:
        folder = root / 'datasets' / REPOSITORIES['wikipedia'].name / REPOSITORIES['wikipedia'].revision / f'20231101.{code}'
        folder.mkdir(parents=True)
        text = '\n'.join(f'The {code} cat number {i} saw a {code} dog.' for i in range(rows))
        Dataset.from_list([dict(id='1', text=text)]).to_parquet(str(folder / 'train-00000-of-00001.parquet'))


def write_encoder(root: Path, name: str) -> None:
    "A random XLM-R of two layers with its tokenizer and its masked-LM head, as safetensors."
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM
    from xlt.models.features import train_tokenizer
    tokenizer = train_tokenizer({'en': [f'The dog {i} sat on the mat, who saw a cat? {i:x}' for i in range(200)]}, vocabulary=500, alpha=1)
    config = XLMRobertaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=514,
                              pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    folder = root / 'models' / name / CHECKPOINTS[name]
    XLMRobertaForMaskedLM(config).save_pretrained(folder), tokenizer.save_pretrained(folder)


def write_own_copies(root: Path, rows: int) -> None:
    "What the hub does not have: BUCC's files and CCGbank."
    for folder in ('bucc2018', 'ccgbank'): (root / folder).mkdir()
    for code in BUCC:
        for split in ('dev', 'test'):
            for side in (code, 'en'):
                lines = [f'{side}-{i}\t{split} {side} sentence {i} {code}{i}' for i in range(rows)]
                (root / 'bucc2018' / f'{code}-en.{split}.{side}').write_text('\n'.join(lines) + '\n')
            (root / 'bucc2018' / f'{code}-en.{split}.gold').write_text(''.join(f'{code}-{i}\ten-{i}\n' for i in range(rows // 2)))
    for part in ('train', 'dev'):
        (root / 'ccgbank' / f'{part}.stagged').write_text(''.join(f'The|DT|NP[nb]/N cat|NN|N {part}{i}|NN|N\n' for i in range(rows)))
