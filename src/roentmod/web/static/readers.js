var f=[300,700,1500,3e3],c=performance.now(),a=!1;function o(e,t=document){return t.querySelector(e)}function p(){c=performance.now();let e=[...document.querySelectorAll("rm-viewer")];for(let t of e)t.addEventListener("rm-ready",()=>c=performance.now(),{once:!0})}function h(e){let t=o("#page");if(t===null)return;let n=new DOMParser().parseFromString(e,"text/html").body,i=o("#pictures"),r=o("#pictures",n);if(i!==null&&r!==null&&i.dataset.shown===r.dataset.shown){for(let s of["#top","#panel"]){let[l,u]=[o(s),o(s,n)];l!==null&&u!==null&&l.replaceWith(u)}c=performance.now()}else t.replaceChildren(...n.childNodes),p();w()}function w(){(o("#question input[type=radio]")??o("#panel button"))?.focus({preventScroll:!0})}function d(e){let t=o("#saving");t!==null&&(t.textContent=e)}async function y(e){if(a)return;a=!0;let t=o("[name=client_ms]",e);t!==null&&(t.value=String(Math.round(performance.now()-c)));let n=new URLSearchParams;for(let[i,r]of new FormData(e))n.append(i,String(r));try{for(let i=0;;i++){let r=await fetch(e.action,{method:"POST",body:n}).catch(()=>null);if(r!==null&&(r.ok||r.status===409)){d(""),h(await r.text());return}if(r!==null&&r.status<500){window.location.assign("/");return}d("Not kept yet: the server does not answer. Trying again …");let s=f[Math.min(i,f.length-1)];await new Promise(l=>setTimeout(l,s))}}finally{a=!1}}function g(e){let n=document.querySelectorAll("#question input[type=radio]")[e-1];n===void 0||a||(n.checked=!0,n.focus({preventScroll:!0}))}document.addEventListener("submit",e=>{let t=e.target;["/answers","/go-on","/back"].includes(new URL(t.action).pathname)&&(e.preventDefault(),y(t))});document.addEventListener("keydown",e=>{let t=o("#question");t===null||e.ctrlKey||e.altKey||e.metaKey||e.composedPath()[0].closest("button, a, select, input:not([type=radio])")!==null||(/^[1-9]$/.test(e.key)?(e.preventDefault(),g(Number(e.key))):e.key==="Enter"&&!e.repeat&&(e.preventDefault(),t.requestSubmit()))});var m=o("#display");if(m!==null){let e={width:screen.width,height:screen.height,ratio:devicePixelRatio.toFixed(2)};for(let[t,n]of Object.entries(e)){let i=o(`[name=${t}]`,m);i!==null&&(i.value=String(n))}}p();w();
/*! Lit, and no other library, is part of this file:

BSD 3-Clause License

Copyright (c) 2017 Google LLC. All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

3. Neither the name of the copyright holder nor the names of its
   contributors may be used to endorse or promote products derived from
   this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.*/
