import{g as a}from"./shared.js";export{a as Viewer};
