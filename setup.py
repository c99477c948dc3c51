"Packaging: what changes is said in settings.ini, nbdev's configuration file; the rest in pyproject.toml."
import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

parser = ConfigParser(delimiters=['='], interpolation=None)
parser.read('settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
lora = cfg['lora_requirements'].split()  # for the variants -lora
packaged = cfg['packaged_requirements'].split()  # an encoder; for the tests where it needs no compiler
PROJECT = ('Snakefile', 'constraints.txt', 'profiles', 'params', 'nbs/study')  # what `xlt run` needs besides code


class WithProject(build_py):
    "Puts into the package what else a study needs, as `xlt/project`; a clone has it where it is."

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False): return
        shutil.rmtree(place := Path(self.build_lib, 'xlt', 'project'), ignore_errors=True)
        for path in filter(Path.exists, map(Path, PROJECT)):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir(): shutil.copytree(path, place / path, ignore=shutil.ignore_patterns('.*', '__pycache__'))
            else: shutil.copy(path, place / path)


setup(version=cfg['version'], cmdclass={'build_py': WithProject},
      packages=find_packages(include=['xlt', 'xlt.*']), package_data={'xlt': ['tables/*', 'page/*']},
      install_requires=cfg['requirements'].split(),
      extras_require={'packaged': packaged, 'lora': lora, 'dev': cfg['dev_requirements'].split() + lora + [f'{r}; sys_platform == "linux"' for r in packaged]},
      entry_points={'console_scripts': cfg['console_scripts'].split()})
