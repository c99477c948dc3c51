"Packaging: everything is said in settings.ini, nbdev's configuration file."
from configparser import ConfigParser

from setuptools import find_packages, setup

parser = ConfigParser(delimiters=['='], interpolation=None)
parser.read('settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
packaged = cfg['packaged_requirements'].split()  # an encoder; for the tests where it needs no compiler

setup(name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], author=cfg['author'],
      author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0', keywords=cfg['keywords'],
      packages=find_packages(include=['xlt', 'xlt.*']), package_data={'xlt': ['tables/*', 'page/*']},
      python_requires='>=' + cfg['min_python'], install_requires=cfg['requirements'].split(),
      extras_require={'packaged': packaged, 'dev': cfg['dev_requirements'].split() + [f'{r}; sys_platform == "linux"' for r in packaged]},
      entry_points={'console_scripts': cfg['console_scripts'].split()})
