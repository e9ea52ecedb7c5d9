document.dispatchEvent(new CustomEvent("course:wire"));
