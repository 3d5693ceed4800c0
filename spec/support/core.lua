-- core: the module table of the C side, which programs do not see.
return require "orrery.core"
