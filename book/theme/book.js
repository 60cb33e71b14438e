// A page has one main heading, its own: the book's title above it is not a second one.
document.querySelector("h1.menu-title")?.setAttribute("role", "presentation");
