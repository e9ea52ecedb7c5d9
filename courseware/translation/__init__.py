"""The course in another language: catalogues of its prose and display strings, and notebooks made with them.

messages   what there is to translate, by file     (markdown_blocks, code_text, display, literals)
catalogue  locale/LANG/NAME.po: merged with what the sources say now
notebook   a notebook in the other language, with the same code
lint       what is wrong with a translation
"""
