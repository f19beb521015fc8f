var G=globalThis,J=G.ShadowRoot&&(G.ShadyCSS===void 0||G.ShadyCSS.nativeShadow)&&"adoptedStyleSheets"in Document.prototype&&"replace"in CSSStyleSheet.prototype,re=Symbol(),Ce=new WeakMap,z=class{constructor(e,t,s){if(this._$cssResult$=!0,s!==re)throw Error("CSSResult is not constructable. Use `unsafeCSS` or `css` instead.");this.cssText=e,this.t=t}get styleSheet(){let e=this.o,t=this.t;if(J&&e===void 0){let s=t!==void 0&&t.length===1;s&&(e=Ce.get(t)),e===void 0&&((this.o=e=new CSSStyleSheet).replaceSync(this.cssText),s&&Ce.set(t,e))}return e}toString(){return this.cssText}},Re=r=>new z(typeof r=="string"?r:r+"",void 0,re),_=(r,...e)=>{let t=r.length===1?r[0]:e.reduce((s,i,n)=>s+(o=>{if(o._$cssResult$===!0)return o.cssText;if(typeof o=="number")return o;throw Error("Value passed to 'css' function must be a 'css' function result: "+o+". Use 'unsafeCSS' to pass non-literal values, but take care to ensure page security.")})(i)+r[n+1],r[0]);return new z(t,r,re)},Te=(r,e)=>{if(J)r.adoptedStyleSheets=e.map(t=>t instanceof CSSStyleSheet?t:t.styleSheet);else for(let t of e){let s=document.createElement("style"),i=G.litNonce;i!==void 0&&s.setAttribute("nonce",i),s.textContent=t.cssText,r.appendChild(s)}},ne=J?r=>r:r=>r instanceof CSSStyleSheet?(e=>{let t="";for(let s of e.cssRules)t+=s.cssText;return Re(t)})(r):r;var{is:dt,defineProperty:ct,getOwnPropertyDescriptor:ut,getOwnPropertyNames:pt,getOwnPropertySymbols:mt,getPrototypeOf:ft}=Object,Q=globalThis,Le=Q.trustedTypes,gt=Le?Le.emptyScript:"",bt=Q.reactiveElementPolyfillSupport,I=(r,e)=>r,oe={toAttribute(r,e){switch(e){case Boolean:r=r?gt:null;break;case Object:case Array:r=r==null?r:JSON.stringify(r)}return r},fromAttribute(r,e){let t=r;switch(e){case Boolean:t=r!==null;break;case Number:t=r===null?null:Number(r);break;case Object:case Array:try{t=JSON.parse(r)}catch{t=null}}return t}},Oe=(r,e)=>!dt(r,e),Ue={attribute:!0,type:String,converter:oe,reflect:!1,useDefault:!1,hasChanged:Oe};Symbol.metadata??=Symbol("metadata"),Q.litPropertyMetadata??=new WeakMap;var E=class extends HTMLElement{static addInitializer(e){this._$Ei(),(this.l??=[]).push(e)}static get observedAttributes(){return this.finalize(),this._$Eh&&[...this._$Eh.keys()]}static createProperty(e,t=Ue){if(t.state&&(t.attribute=!1),this._$Ei(),this.prototype.hasOwnProperty(e)&&((t=Object.create(t)).wrapped=!0),this.elementProperties.set(e,t),!t.noAccessor){let s=Symbol(),i=this.getPropertyDescriptor(e,s,t);i!==void 0&&ct(this.prototype,e,i)}}static getPropertyDescriptor(e,t,s){let{get:i,set:n}=ut(this.prototype,e)??{get(){return this[t]},set(o){this[t]=o}};return{get:i,set(o){let l=i?.call(this);n?.call(this,o),this.requestUpdate(e,l,s)},configurable:!0,enumerable:!0}}static getPropertyOptions(e){return this.elementProperties.get(e)??Ue}static _$Ei(){if(this.hasOwnProperty(I("elementProperties")))return;let e=ft(this);e.finalize(),e.l!==void 0&&(this.l=[...e.l]),this.elementProperties=new Map(e.elementProperties)}static finalize(){if(this.hasOwnProperty(I("finalized")))return;if(this.finalized=!0,this._$Ei(),this.hasOwnProperty(I("properties"))){let t=this.properties,s=[...pt(t),...mt(t)];for(let i of s)this.createProperty(i,t[i])}let e=this[Symbol.metadata];if(e!==null){let t=litPropertyMetadata.get(e);if(t!==void 0)for(let[s,i]of t)this.elementProperties.set(s,i)}this._$Eh=new Map;for(let[t,s]of this.elementProperties){let i=this._$Eu(t,s);i!==void 0&&this._$Eh.set(i,t)}this.elementStyles=this.finalizeStyles(this.styles)}static finalizeStyles(e){let t=[];if(Array.isArray(e)){let s=new Set(e.flat(1/0).reverse());for(let i of s)t.unshift(ne(i))}else e!==void 0&&t.push(ne(e));return t}static _$Eu(e,t){let s=t.attribute;return s===!1?void 0:typeof s=="string"?s:typeof e=="string"?e.toLowerCase():void 0}constructor(){super(),this._$Ep=void 0,this.isUpdatePending=!1,this.hasUpdated=!1,this._$Em=null,this._$Ev()}_$Ev(){this._$ES=new Promise(e=>this.enableUpdating=e),this._$AL=new Map,this._$E_(),this.requestUpdate(),this.constructor.l?.forEach(e=>e(this))}addController(e){(this._$EO??=new Set).add(e),this.renderRoot!==void 0&&this.isConnected&&e.hostConnected?.()}removeController(e){this._$EO?.delete(e)}_$E_(){let e=new Map,t=this.constructor.elementProperties;for(let s of t.keys())this.hasOwnProperty(s)&&(e.set(s,this[s]),delete this[s]);e.size>0&&(this._$Ep=e)}createRenderRoot(){let e=this.shadowRoot??this.attachShadow(this.constructor.shadowRootOptions);return Te(e,this.constructor.elementStyles),e}connectedCallback(){this.renderRoot??=this.createRenderRoot(),this.enableUpdating(!0),this._$EO?.forEach(e=>e.hostConnected?.())}enableUpdating(e){}disconnectedCallback(){this._$EO?.forEach(e=>e.hostDisconnected?.())}attributeChangedCallback(e,t,s){this._$AK(e,s)}_$ET(e,t){let s=this.constructor.elementProperties.get(e),i=this.constructor._$Eu(e,s);if(i!==void 0&&s.reflect===!0){let n=(s.converter?.toAttribute!==void 0?s.converter:oe).toAttribute(t,s.type);this._$Em=e,n==null?this.removeAttribute(i):this.setAttribute(i,n),this._$Em=null}}_$AK(e,t){let s=this.constructor,i=s._$Eh.get(e);if(i!==void 0&&this._$Em!==i){let n=s.getPropertyOptions(i),o=typeof n.converter=="function"?{fromAttribute:n.converter}:n.converter?.fromAttribute!==void 0?n.converter:oe;this._$Em=i;let l=o.fromAttribute(t,n.type);this[i]=l??this._$Ej?.get(i)??l,this._$Em=null}}requestUpdate(e,t,s,i=!1,n){if(e!==void 0){let o=this.constructor;if(i===!1&&(n=this[e]),s??=o.getPropertyOptions(e),!((s.hasChanged??Oe)(n,t)||s.useDefault&&s.reflect&&n===this._$Ej?.get(e)&&!this.hasAttribute(o._$Eu(e,s))))return;this.C(e,t,s)}this.isUpdatePending===!1&&(this._$ES=this._$EP())}C(e,t,{useDefault:s,reflect:i,wrapped:n},o){s&&!(this._$Ej??=new Map).has(e)&&(this._$Ej.set(e,o??t??this[e]),n!==!0||o!==void 0)||(this._$AL.has(e)||(this.hasUpdated||s||(t=void 0),this._$AL.set(e,t)),i===!0&&this._$Em!==e&&(this._$Eq??=new Set).add(e))}async _$EP(){this.isUpdatePending=!0;try{await this._$ES}catch(t){Promise.reject(t)}let e=this.scheduleUpdate();return e!=null&&await e,!this.isUpdatePending}scheduleUpdate(){return this.performUpdate()}performUpdate(){if(!this.isUpdatePending)return;if(!this.hasUpdated){if(this.renderRoot??=this.createRenderRoot(),this._$Ep){for(let[i,n]of this._$Ep)this[i]=n;this._$Ep=void 0}let s=this.constructor.elementProperties;if(s.size>0)for(let[i,n]of s){let{wrapped:o}=n,l=this[i];o!==!0||this._$AL.has(i)||l===void 0||this.C(i,void 0,n,l)}}let e=!1,t=this._$AL;try{e=this.shouldUpdate(t),e?(this.willUpdate(t),this._$EO?.forEach(s=>s.hostUpdate?.()),this.update(t)):this._$EM()}catch(s){throw e=!1,this._$EM(),s}e&&this._$AE(t)}willUpdate(e){}_$AE(e){this._$EO?.forEach(t=>t.hostUpdated?.()),this.hasUpdated||(this.hasUpdated=!0,this.firstUpdated(e)),this.updated(e)}_$EM(){this._$AL=new Map,this.isUpdatePending=!1}get updateComplete(){return this.getUpdateComplete()}getUpdateComplete(){return this._$ES}shouldUpdate(e){return!0}update(e){this._$Eq&&=this._$Eq.forEach(t=>this._$ET(t,this[t])),this._$EM()}updated(e){}firstUpdated(e){}};E.elementStyles=[],E.shadowRootOptions={mode:"open"},E[I("elementProperties")]=new Map,E[I("finalized")]=new Map,bt?.({ReactiveElement:E}),(Q.reactiveElementVersions??=[]).push("2.1.2");var pe=globalThis,Ne=r=>r,Z=pe.trustedTypes,He=Z?Z.createPolicy("lit-html",{createHTML:r=>r}):void 0,qe="$lit$",S=`lit$${Math.random().toFixed(9).slice(2)}$`,Ve="?"+S,vt=`<${Ve}>`,C=document,F=()=>C.createComment(""),B=r=>r===null||typeof r!="object"&&typeof r!="function",me=Array.isArray,yt=r=>me(r)||typeof r?.[Symbol.iterator]=="function",ae=`[ 	
\f\r]`,D=/<(?:(!--|\/[^a-zA-Z])|(\/?[a-zA-Z][^>\s]*)|(\/?$))/g,ze=/-->/g,Ie=/>/g,P=RegExp(`>|${ae}(?:([^\\s"'>=/]+)(${ae}*=${ae}*(?:[^ 	
\f\r"'\`<>=]|("|')|))|$)`,"g"),De=/'/g,Fe=/"/g,je=/^(?:script|style|textarea|title)$/i,fe=r=>(e,...t)=>({_$litType$:r,strings:e,values:t}),d=fe(1),Jt=fe(2),Qt=fe(3),R=Symbol.for("lit-noChange"),p=Symbol.for("lit-nothing"),Be=new WeakMap,M=C.createTreeWalker(C,129);function We(r,e){if(!me(r)||!r.hasOwnProperty("raw"))throw Error("invalid template strings array");return He!==void 0?He.createHTML(e):e}var wt=(r,e)=>{let t=r.length-1,s=[],i,n=e===2?"<svg>":e===3?"<math>":"",o=D;for(let l=0;l<t;l++){let a=r[l],h,u,c=-1,m=0;for(;m<a.length&&(o.lastIndex=m,u=o.exec(a),u!==null);)m=o.lastIndex,o===D?u[1]==="!--"?o=ze:u[1]!==void 0?o=Ie:u[2]!==void 0?(je.test(u[2])&&(i=RegExp("</"+u[2],"g")),o=P):u[3]!==void 0&&(o=P):o===P?u[0]===">"?(o=i??D,c=-1):u[1]===void 0?c=-2:(c=o.lastIndex-u[2].length,h=u[1],o=u[3]===void 0?P:u[3]==='"'?Fe:De):o===Fe||o===De?o=P:o===ze||o===Ie?o=D:(o=P,i=void 0);let f=o===P&&r[l+1].startsWith("/>")?" ":"";n+=o===D?a+vt:c>=0?(s.push(h),a.slice(0,c)+qe+a.slice(c)+S+f):a+S+(c===-2?l:f)}return[We(r,n+(r[t]||"<?>")+(e===2?"</svg>":e===3?"</math>":"")),s]},q=class r{constructor({strings:e,_$litType$:t},s){let i;this.parts=[];let n=0,o=0,l=e.length-1,a=this.parts,[h,u]=wt(e,t);if(this.el=r.createElement(h,s),M.currentNode=this.el.content,t===2||t===3){let c=this.el.content.firstChild;c.replaceWith(...c.childNodes)}for(;(i=M.nextNode())!==null&&a.length<l;){if(i.nodeType===1){if(i.hasAttributes())for(let c of i.getAttributeNames())if(c.endsWith(qe)){let m=u[o++],f=i.getAttribute(c).split(S),b=/([.?@])?(.*)/.exec(m);a.push({type:1,index:n,name:b[2],strings:f,ctor:b[1]==="."?he:b[1]==="?"?de:b[1]==="@"?ce:U}),i.removeAttribute(c)}else c.startsWith(S)&&(a.push({type:6,index:n}),i.removeAttribute(c));if(je.test(i.tagName)){let c=i.textContent.split(S),m=c.length-1;if(m>0){i.textContent=Z?Z.emptyScript:"";for(let f=0;f<m;f++)i.append(c[f],F()),M.nextNode(),a.push({type:2,index:++n});i.append(c[m],F())}}}else if(i.nodeType===8)if(i.data===Ve)a.push({type:2,index:n});else{let c=-1;for(;(c=i.data.indexOf(S,c+1))!==-1;)a.push({type:7,index:n}),c+=S.length-1}n++}}static createElement(e,t){let s=C.createElement("template");return s.innerHTML=e,s}};function L(r,e,t=r,s){if(e===R)return e;let i=s!==void 0?t._$Co?.[s]:t._$Cl,n=B(e)?void 0:e._$litDirective$;return i?.constructor!==n&&(i?._$AO?.(!1),n===void 0?i=void 0:(i=new n(r),i._$AT(r,t,s)),s!==void 0?(t._$Co??=[])[s]=i:t._$Cl=i),i!==void 0&&(e=L(r,i._$AS(r,e.values),i,s)),e}var le=class{constructor(e,t){this._$AV=[],this._$AN=void 0,this._$AD=e,this._$AM=t}get parentNode(){return this._$AM.parentNode}get _$AU(){return this._$AM._$AU}u(e){let{el:{content:t},parts:s}=this._$AD,i=(e?.creationScope??C).importNode(t,!0);M.currentNode=i;let n=M.nextNode(),o=0,l=0,a=s[0];for(;a!==void 0;){if(o===a.index){let h;a.type===2?h=new V(n,n.nextSibling,this,e):a.type===1?h=new a.ctor(n,a.name,a.strings,this,e):a.type===6&&(h=new ue(n,this,e)),this._$AV.push(h),a=s[++l]}o!==a?.index&&(n=M.nextNode(),o++)}return M.currentNode=C,i}p(e){let t=0;for(let s of this._$AV)s!==void 0&&(s.strings!==void 0?(s._$AI(e,s,t),t+=s.strings.length-2):s._$AI(e[t])),t++}},V=class r{get _$AU(){return this._$AM?._$AU??this._$Cv}constructor(e,t,s,i){this.type=2,this._$AH=p,this._$AN=void 0,this._$AA=e,this._$AB=t,this._$AM=s,this.options=i,this._$Cv=i?.isConnected??!0}get parentNode(){let e=this._$AA.parentNode,t=this._$AM;return t!==void 0&&e?.nodeType===11&&(e=t.parentNode),e}get startNode(){return this._$AA}get endNode(){return this._$AB}_$AI(e,t=this){e=L(this,e,t),B(e)?e===p||e==null||e===""?(this._$AH!==p&&this._$AR(),this._$AH=p):e!==this._$AH&&e!==R&&this._(e):e._$litType$!==void 0?this.$(e):e.nodeType!==void 0?this.T(e):yt(e)?this.k(e):this._(e)}O(e){return this._$AA.parentNode.insertBefore(e,this._$AB)}T(e){this._$AH!==e&&(this._$AR(),this._$AH=this.O(e))}_(e){this._$AH!==p&&B(this._$AH)?this._$AA.nextSibling.data=e:this.T(C.createTextNode(e)),this._$AH=e}$(e){let{values:t,_$litType$:s}=e,i=typeof s=="number"?this._$AC(e):(s.el===void 0&&(s.el=q.createElement(We(s.h,s.h[0]),this.options)),s);if(this._$AH?._$AD===i)this._$AH.p(t);else{let n=new le(i,this),o=n.u(this.options);n.p(t),this.T(o),this._$AH=n}}_$AC(e){let t=Be.get(e.strings);return t===void 0&&Be.set(e.strings,t=new q(e)),t}k(e){me(this._$AH)||(this._$AH=[],this._$AR());let t=this._$AH,s,i=0;for(let n of e)i===t.length?t.push(s=new r(this.O(F()),this.O(F()),this,this.options)):s=t[i],s._$AI(n),i++;i<t.length&&(this._$AR(s&&s._$AB.nextSibling,i),t.length=i)}_$AR(e=this._$AA.nextSibling,t){for(this._$AP?.(!1,!0,t);e!==this._$AB;){let s=Ne(e).nextSibling;Ne(e).remove(),e=s}}setConnected(e){this._$AM===void 0&&(this._$Cv=e,this._$AP?.(e))}},U=class{get tagName(){return this.element.tagName}get _$AU(){return this._$AM._$AU}constructor(e,t,s,i,n){this.type=1,this._$AH=p,this._$AN=void 0,this.element=e,this.name=t,this._$AM=i,this.options=n,s.length>2||s[0]!==""||s[1]!==""?(this._$AH=Array(s.length-1).fill(new String),this.strings=s):this._$AH=p}_$AI(e,t=this,s,i){let n=this.strings,o=!1;if(n===void 0)e=L(this,e,t,0),o=!B(e)||e!==this._$AH&&e!==R,o&&(this._$AH=e);else{let l=e,a,h;for(e=n[0],a=0;a<n.length-1;a++)h=L(this,l[s+a],t,a),h===R&&(h=this._$AH[a]),o||=!B(h)||h!==this._$AH[a],h===p?e=p:e!==p&&(e+=(h??"")+n[a+1]),this._$AH[a]=h}o&&!i&&this.j(e)}j(e){e===p?this.element.removeAttribute(this.name):this.element.setAttribute(this.name,e??"")}},he=class extends U{constructor(){super(...arguments),this.type=3}j(e){this.element[this.name]=e===p?void 0:e}},de=class extends U{constructor(){super(...arguments),this.type=4}j(e){this.element.toggleAttribute(this.name,!!e&&e!==p)}},ce=class extends U{constructor(e,t,s,i,n){super(e,t,s,i,n),this.type=5}_$AI(e,t=this){if((e=L(this,e,t,0)??p)===R)return;let s=this._$AH,i=e===p&&s!==p||e.capture!==s.capture||e.once!==s.once||e.passive!==s.passive,n=e!==p&&(s===p||i);i&&this.element.removeEventListener(this.name,this,s),n&&this.element.addEventListener(this.name,this,e),this._$AH=e}handleEvent(e){typeof this._$AH=="function"?this._$AH.call(this.options?.host??this.element,e):this._$AH.handleEvent(e)}},ue=class{constructor(e,t,s){this.element=e,this.type=6,this._$AN=void 0,this._$AM=t,this.options=s}get _$AU(){return this._$AM._$AU}_$AI(e){L(this,e)}};var $t=pe.litHtmlPolyfillSupport;$t?.(q,V),(pe.litHtmlVersions??=[]).push("3.3.3");var Ke=(r,e,t)=>{let s=t?.renderBefore??e,i=s._$litPart$;if(i===void 0){let n=t?.renderBefore??null;s._$litPart$=i=new V(e.insertBefore(F(),n),n,void 0,t??{})}return i._$AI(r),i};var ge=globalThis,g=class extends E{constructor(){super(...arguments),this.renderOptions={host:this},this._$Do=void 0}createRenderRoot(){let e=super.createRenderRoot();return this.renderOptions.renderBefore??=e.firstChild,e}update(e){let t=this.render();this.hasUpdated||(this.renderOptions.isConnected=this.isConnected),super.update(e),this._$Do=Ke(t,this.renderRoot,this.renderOptions)}connectedCallback(){super.connectedCallback(),this._$Do?.setConnected(!0)}disconnectedCallback(){super.disconnectedCallback(),this._$Do?.setConnected(!1)}render(){return R}};g._$litElement$=!0,g.finalized=!0,ge.litElementHydrateSupport?.({LitElement:g});var xt=ge.litElementPolyfillSupport;xt?.({LitElement:g});(ge.litElementVersions??=[]).push("4.2.2");var Xe=()=>document.querySelector('meta[name="token"]')?.content??"";async function v(r,e){let t={credentials:"same-origin"};return e!==void 0&&(t.method="POST",t.headers={"Content-Type":"application/json","x-csrftoken":Xe()},t.body=JSON.stringify(e)),Ge(await fetch(r,t))}async function Ye(r){let e={"Content-Type":"application/octet-stream","x-csrftoken":Xe(),"x-name":encodeURIComponent(r.name)};return Ge(await fetch("/drop",{method:"POST",headers:e,body:r}))}async function Ge(r){if(r.ok)return await r.json();throw new Error(await be(r))}async function be(r){return new DOMParser().parseFromString(await r.text(),"text/html").getElementById("message")?.textContent||`The server answered ${r.status}.`}var Et=200,ve=class extends g{static properties={number:{state:!0},facts:{state:!0},chosen:{state:!0},cases:{state:!0},at:{state:!0},message:{state:!0}};constructor(){super(),this.number=0,this.facts=this.chosen=null,this.cases=[],this.at=-1,this.message=""}createRenderRoot(){return this}connectedCallback(){super.connectedCallback(),this.load(0)}async attempt(e){this.message="";try{await e()}catch(t){this.message=t.message}}async load(e){await this.attempt(async()=>{this.facts=await v(`/run/${e}`),this.number=e,this.chosen=null,this.cases=[],this.at=-1})}async open(e,t){await this.attempt(async()=>{let s={classifier:e,edited:t.edited,read:t.read};this.cases=await v(`/run/${this.number}/cases`,s),this.chosen=s,this.at=-1})}async show(e){let t=this.chosen?this.cases.length:this.facts?.pictures.length??0;if(e<0||e>=t||(this.at=e,!this.chosen||!this.facts?.shows))return;let{baseline_id:s,pair_id:i}=this.cases[e];await this.attempt(async()=>{let n=await v(`/run/${this.number}/case`,{baseline:s,pair:i});this.dispatchEvent(new CustomEvent("rm-case",{detail:n,bubbles:!0}))})}render(){let{facts:e}=this;return e?d`<h2>${e.name}</h2>
      <p class="quiet">${e.words}</p>
      <p role="status" class="bad">${this.message}</p>
      <div class="row">
        ${this.number>0?d`<button @click=${()=>{this.load(0)}}>Back to the study</button>`:p}
        ${e.report?d`<a class="button" href=${`/run/${this.number}/report`} target="_blank" rel="noopener"
              >Report</a
            >`:p}
        ${e.stages.map((t,s)=>d`<button @click=${()=>{this.load(s+1)}}>${t}</button>`)}
      </div>
      ${e.matrices.map((t,s)=>this.matrix(t.name,t.verdict,t.cells,s))}
      ${this.chosen?this.caseList(e):p}
      ${e.pictures.length?this.pictureList(e):p}
      ${e.tables.map(t=>kt(t))}`:d`<p role="status">${this.message||"Reading the run"}</p>`}matrix(e,t,s,i){let n=[...new Set(s.map(a=>a.edited))],o=[...new Set(s.map(a=>a.read))],l=(a,h)=>s.find(u=>u.edited===a&&u.read===h);return d`<section class="matrix">
      <h3>${e}: ${t}</h3>
      <div class="scroll" tabindex="0" role="region" aria-label=${`Effects of ${e}`}>
        <table>
          <caption class=${i?"visually-hidden":"quiet"}>Mean net effect on the logit read (across) of the finding edited (down); \u25b2 shortcut</caption>
          <thead>
            <tr>
              <td></td>
              ${o.map(a=>d`<th scope="col"><span>${a}</span></th>`)}
            </tr>
          </thead>
          <tbody>
            ${n.map(a=>d`<tr>
                  <th scope="row">${a}</th>
                  ${o.map(h=>d`<td>${this.cell(l(a,h),i)}</td>`)}
                </tr>`)}
          </tbody>
        </table>
      </div>
    </section>`}cell(e,t){if(!e)return"";let{chosen:s}=this,i=s?.classifier===t&&s.edited===e.edited&&s.read===e.read,n=e.on_target?"own":e.verdict==="shortcut"?"shortcut":"",o=e.effect===null?"–":St(e.effect);return d`<button
      class="cell ${n}"
      aria-pressed=${i?"true":"false"}
      aria-label=${`${e.edited} edited, ${e.read} read: ${o}, ${e.verdict}`}
      title=${`${e.reason} ${e.n} patients`}
      @click=${()=>{this.open(t,e)}}
    >
      ${n==="shortcut"?"▲":""}${o}
    </button>`}steps(e){return d`<div class="row">
      <button ?disabled=${this.at<=0} @click=${()=>{this.show(this.at-1)}}>Previous</button>
      <button ?disabled=${this.at+1>=e} @click=${()=>{this.show(this.at+1)}}>
        Next
      </button>
      <span class="quiet">${this.at<0?e:`${this.at+1} of ${e}`}</span>
    </div>`}caseList(e){let{edited:t,read:s}=this.chosen,i=n=>d`<td class="number">${n===null?"":n.toFixed(2)}</td>`;return d`<section aria-label="Cases">
      <h3>${t} edited, ${s} read</h3>
      ${e.shows?p:d`<p class="notice">
            To see the pictures of cases, start the studio with the audit's data: --data.
          </p>`}
      ${this.steps(this.cases.length)}
      <div class="scroll cases">
        <table>
          <thead>
            <tr>
              <th scope="col">Case</th>
              ${["baseline","sham","edited","net"].map(n=>d`<th scope="col" class="number">${n}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${this.cases.slice(0,Et).map((n,o)=>d`<tr class=${o===this.at?"asked":""}>
                  <td>
                    <button class="plain" @click=${()=>{this.show(o)}}>${n.baseline_id}</button>
                  </td>
                  ${[n.baseline,n.sham,n.counterfactual,n.net].map(i)}
                </tr>`)}
          </tbody>
        </table>
      </div>
    </section>`}pictureList(e){let t=`/run/${this.number}/pixels/${this.at}/counterfactual`;return d`<section aria-label="Pictures">
      <h3>Pictures</h3>
      ${this.steps(e.pictures.length)}
      ${this.at>=0&&!this.chosen?d`<rm-viewer
            class="single"
            group="studio"
            bar="none"
            synthetic
            label=${e.pictures[this.at]}
            src=${t}
          ></rm-viewer>`:p}
    </section>`}};function St(r){return`${r<0?"−":"+"}${Math.abs(r).toFixed(2)}`}function kt(r){let e=t=>t==null?"":typeof t=="number"&&!Number.isInteger(t)?t.toFixed(3):String(t);return d`<details>
    <summary>${r.name} (${r.count})</summary>
    <div class="scroll" tabindex="0" role="region" aria-label=${r.name}>
      <table>
        <thead>
          <tr>
            ${r.columns.map(t=>d`<th scope="col">${t}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${r.rows.map(t=>d`<tr>${t.map(s=>d`<td>${e(s)}</td>`)}</tr>`)}
        </tbody>
      </table>
    </div>
  </details>`}customElements.define("rm-run",ve);var j=[{name:"Full range",centre:.5,width:1},{name:"Lungs",centre:.3,width:.6},{name:"Mediastinum",centre:.7,width:.6},{name:"Bones",centre:.65,width:.45},{name:"High contrast",centre:.5,width:.5}],O=class extends EventTarget{centre=.5;width=1;invert=!1;scale=null;x=.5;y=.5;tool="window";mode="picture";divider=.5;opacity=.7;flicker=!1;radius=40;strokes=[];rulers=[];change(e={}){Object.assign(this,e),this.dispatchEvent(new Event("change"))}reset(){this.change({centre:.5,width:1,invert:!1,mode:"picture",flicker:!1,...Je})}fit(){this.change(Je)}turn(e,t){let s=Math.max(.01,Math.min(2,this.width*Math.exp(e*1.6))),i=Math.max(-.5,Math.min(1.5,this.centre+t*Math.max(.1,this.width)));this.change({width:s,centre:i})}preset(e){let{centre:t,width:s}=j[e%j.length];this.change({centre:t,width:s})}get presetNumber(){return j.findIndex(e=>e.centre===this.centre&&e.width===this.width)}undo(){this.tool==="ruler"?this.change({rulers:this.rulers.slice(0,-1)}):this.setStrokes(this.strokes.slice(0,-1))}setStrokes(e){this.change({strokes:e}),this.dispatchEvent(new Event("strokes"))}adjust(e){this.tool==="brush"||this.tool==="erase"?this.change({radius:Math.max(2,Math.min(400,Math.round(this.radius*1.25**e)))}):this.mode==="swipe"?this.change({divider:Math.max(0,Math.min(1,this.divider+.02*e))}):this.mode==="difference"&&this.change({opacity:Math.max(0,Math.min(1,this.opacity+.1*e))})}toggle(e){this.change({mode:this.mode===e?"picture":e})}},Je={scale:null,x:.5,y:.5},Qe=new Map;function T(r){if(!r)return new O;let e=Qe.get(r)??new O;return Qe.set(r,e),e}var ee=_`
  :host {
    color: var(--text, #d5dbe3);
    font: 13px/1.35 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  }
  button,
  select {
    min-height: 28px;
    padding: 2px 8px;
    border: 1px solid var(--line, #333b45);
    border-radius: 4px;
    background: var(--raised, #1b2027);
    color: inherit;
    font: inherit;
    cursor: pointer;
  }
  button:hover,
  select:hover {
    border-color: var(--quiet, #98a4b3);
  }
  button[aria-pressed="true"] {
    border-color: var(--accent, #6db3ff);
    background: var(--chosen, #163352);
    color: #fff;
  }
  button:disabled {
    color: var(--quiet, #98a4b3);
    cursor: default;
  }
  :focus-visible {
    outline: 2px solid var(--accent, #6db3ff);
    outline-offset: 1px;
  }
  input[type="range"] {
    width: 84px;
    height: 24px;
    accent-color: var(--accent, #6db3ff);
  }
  @media (pointer: coarse) {
    button,
    select {
      min-height: 40px;
      min-width: 40px;
    }
  }
`;var At=[["window","Window","Window and level: drag across and down (V)"],["pan","Pan","Move the picture; also middle drag or Space"],["zoom","Zoom","Zoom: drag up and down; also wheel and right drag"],["ruler","Ruler","Measure (M)"]],_t=[["brush","Brush","Paint the region that may change (B)"],["erase","Erase","Take from the region (E)"]],Pt=[["swipe","Swipe","Baseline at the left of a divider (S)"],["difference","Difference","Difference from the baseline in colour (D)"]],Mt=[["Left drag; Shift + arrows","window (across) and level (down)"],["Wheel, right drag, pinch; + and −","zoom"],["Middle drag, Space + drag, two fingers; arrows","move the picture"],["Double click; A","fit the whole picture"],["T","true pixels, 1:1"],["I","invert"],["P","next preset"],["R","reset"],["hold F","flicker: the baseline"],["S","swipe between baseline and picture"],["D","difference from the baseline"],["[ and ]","less and more: divider, opacity, radius"],["M","ruler; arrows move the cross, Enter sets both ends"],["B, E","brush, erase; arrows move the cross, Enter begins and ends a stroke"],["Z","undo the last stroke or ruler"],["V or Escape","back to window and level"],["?","this panel"]],ye=class extends g{static properties={group:{type:String},brush:{type:Boolean},compare:{type:Boolean},view:{attribute:!1}};watched;constructor(){super(),this.group=null,this.brush=!1,this.compare=!1}static styles=[ee,_`
      :host {
        display: block;
      }
      .bar {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 4px;
        padding: 4px;
      }
      .gap {
        width: 6px;
      }
      label {
        display: inline-flex;
        align-items: center;
        gap: 4px;
        color: var(--quiet, #98a4b3);
      }
      dialog {
        max-width: min(620px, 92vw);
        border: 1px solid var(--line, #333b45);
        border-radius: 6px;
        background: var(--panel, #14181d);
        color: inherit;
      }
      dialog::backdrop {
        background: rgb(0 0 0 / 55%);
      }
      h2 {
        margin: 0 0 8px;
        font-size: 15px;
      }
      dl {
        display: grid;
        grid-template-columns: minmax(0, 1.1fr) minmax(0, 1fr);
        gap: 4px 16px;
        margin: 0 0 12px;
      }
      dt {
        color: #fff;
      }
      dd {
        margin: 0;
      }
    `];refresh=()=>this.requestUpdate();connectedCallback(){super.connectedCallback(),this.watched?.addEventListener("change",this.refresh)}disconnectedCallback(){super.disconnectedCallback(),this.watched?.removeEventListener("change",this.refresh)}shared(){let e=this.view??this.watched??T(this.group);return e!==this.watched&&(this.watched?.removeEventListener("change",this.refresh),this.watched=e,e.addEventListener("change",this.refresh)),e}help(){this.renderRoot.querySelector("dialog")?.showModal()}render(){let e=this.shared(),t=n=>n?"true":"false",s=([n,o,l])=>d`<button
        aria-pressed=${t(e.tool===n)}
        title=${l}
        @click=${()=>e.change({tool:e.tool===n?"window":n})}
      >
        ${o}
      </button>`,i=([n,o,l])=>d`<button
        aria-pressed=${t(e.mode===n)}
        title=${l}
        @click=${()=>e.toggle(n)}
      >
        ${o}
      </button>`;return d`<div class="bar" role="toolbar" aria-label="Viewer tools">
        ${At.map(s)}<span class="gap"></span>
        <button title="Fit the whole picture (A)" @click=${()=>e.fit()}>Fit</button>
        <button
          title="True pixels (T)"
          aria-pressed=${t(e.scale===1)}
          @click=${()=>e.change({scale:1})}
        >
          1:1
        </button>
        <button
          title="Invert (I)"
          aria-pressed=${t(e.invert)}
          @click=${()=>e.change({invert:!e.invert})}
        >
          Invert
        </button>
        <select
          aria-label="Preset"
          title="Presets of window and level (P)"
          @change=${n=>e.preset(n.target.selectedIndex-1)}
        >
          <option disabled ?selected=${e.presetNumber<0}>Preset</option>
          ${j.map((n,o)=>d`<option .selected=${e.presetNumber===o}>${n.name}</option>`)}
        </select>
        <button title="Reset window, zoom and comparison (R)" @click=${()=>e.reset()}>
          Reset
        </button>
        ${this.compare?this.comparing(e,i):p}
        ${this.brush?this.brushing(e,s):p}
        <span class="gap"></span>
        <button title="Take back the last stroke or ruler (Z)" @click=${()=>e.undo()}>
          Undo
        </button>
        <button
          aria-haspopup="dialog"
          aria-label="Keys and mouse"
          title="Keys and mouse (?)"
          @click=${()=>this.help()}
        >
          ?
        </button>
      </div>
      <dialog aria-labelledby="keys">
        <h2 id="keys">Keys and mouse</h2>
        <dl>${Mt.map(([n,o])=>d`<dt>${n}</dt><dd>${o}</dd>`)}</dl>
        <p>Keys work while a picture has the focus: click it, or go to it with Tab.</p>
        <form method="dialog"><button>Close</button></form>
      </dialog>`}comparing(e,t){let s=(n,o,l)=>d`<label
        >${n}<input
          type="range"
          min="0"
          max="100"
          .value=${String(Math.round(o*100))}
          @input=${a=>l(Number(a.target.value)/100)}
      /></label>`,i=n=>()=>e.change({flicker:n});return d`<span class="gap"></span>
      <button
        title="Hold to see the baseline (hold F)"
        @pointerdown=${i(!0)}
        @pointerup=${i(!1)}
        @pointerleave=${i(!1)}
        @keydown=${n=>(n.key==="Enter"||n.key===" ")&&i(!0)()}
        @keyup=${i(!1)}
        @blur=${i(!1)}
      >
        Flicker
      </button>
      ${Pt.map(t)}
      ${e.mode==="difference"?s("Opacity",e.opacity,n=>e.change({opacity:n})):p}
      ${e.mode==="swipe"?s("Divider",e.divider,n=>e.change({divider:n})):p}`}brushing(e,t){let s=e.tool==="brush"||e.tool==="erase";return d`<span class="gap"></span>${_t.map(t)}
      ${s?d`<label
            >Radius<input
              type="range"
              min="2"
              max="400"
              .value=${String(e.radius)}
              @input=${i=>e.change({radius:Number(i.target.value)})}
          /></label>`:p}
      <button
        title="Take the whole region away"
        ?disabled=${e.strokes.length===0}
        @click=${()=>e.setStrokes([])}
      >
        Clear
      </button>`}};customElements.define("rm-bar",ye);var Ct={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]},te=class{constructor(e){this.pane=e}pane;cross=null;pointers=new Map;action=null;space=!1;pinched=0;begun=null;down(e){if(!this.pane.placing())return;if(this.pointers.set(e.pointerId,{x:e.offsetX,y:e.offsetY}),this.pointers.size===2){this.dropStroke(),this.action="pinch",this.pinched=this.spread();return}this.action=this.actionOf(e);let t=this.onPicture(e.offsetX,e.offsetY),{view:s}=this.pane;(this.action==="brush"||this.action==="erase")&&this.startStroke(t),this.action==="ruler"&&s.change({rulers:[...s.rulers,{from:t,to:t}]})}move(e){if(!this.pane.placing())return;this.hover(e);let t=this.pointers.get(e.pointerId);if(!t)return;let{view:s}=this.pane,i=e.offsetX-t.x,n=e.offsetY-t.y,o=this.middle();this.pointers.set(e.pointerId,{x:e.offsetX,y:e.offsetY});let{width:l,height:a,density:h}=this.pane.size();switch(this.action){case"window":s.turn(i*h/l,n*h/a);break;case"pan":this.pan(i,n);break;case"zoom":this.zoom(Math.exp(-n/150),l/h/2,a/h/2);break;case"divider":s.change({divider:Math.max(0,Math.min(1,e.offsetX*h/l))});break;case"pinch":{let u=this.middle();this.pan(u.x-o.x,u.y-o.y);let c=this.spread();this.zoom(c/Math.max(1,this.pinched),u.x,u.y),this.pinched=c;break}case"ruler":this.stretch(this.onPicture(e.offsetX,e.offsetY));break;case"brush":case"erase":for(let u of e.getCoalescedEvents?.()??[e])this.extend(this.onPicture(u.offsetX,u.offsetY));this.extend(this.onPicture(e.offsetX,e.offsetY)),s.change()}}up(e){this.pointers.delete(e.pointerId)&&((this.action==="brush"||this.action==="erase")&&this.endStroke(),this.action==="ruler"&&this.dropPointRuler(),this.action=null)}leave(){this.cross&&!this.begun&&(this.cross=null,this.pane.redraw())}wheel(e){e.preventDefault();let t=e.deltaMode===1?16:1;this.zoom(Math.exp(-e.deltaY*t/400),e.offsetX,e.offsetY)}key(e){let{view:t}=this.pane;if(e.metaKey||e.altKey||e.ctrlKey&&e.key.toLowerCase()!=="z")return!1;let s=Ct[e.key];if(s)this.arrow(s,e.shiftKey);else if(!this.letter(e,t))return!1;return!0}letter(e,t){let{width:s,height:i,density:n}=this.pane.size(),[o,l]=[s/n/2,i/n/2],a=c=>()=>t.change({tool:t.tool===c?"window":c}),h={"+":()=>this.zoom(1.25,o,l),"=":()=>this.zoom(1.25,o,l),"-":()=>this.zoom(.8,o,l),a:()=>t.fit(),t:()=>t.change({scale:1}),i:()=>t.change({invert:!t.invert}),p:()=>t.preset(t.presetNumber+1),r:()=>t.reset(),f:()=>t.change({flicker:!0}),s:()=>t.toggle("swipe"),d:()=>t.toggle("difference"),m:a("ruler"),...this.pane.brush?{b:a("brush"),e:a("erase")}:{},z:()=>t.undo(),v:()=>t.change({tool:"window"}),escape:()=>t.change({tool:"window"}),"[":()=>t.adjust(-1),"]":()=>t.adjust(1),"?":()=>this.pane.help()," ":()=>{this.space=!0},enter:()=>this.enter()},u=e.key.toLowerCase();return Object.hasOwn(h,u)?(e.repeat&&(u==="f"||u===" ")||h[u](),!0):!1}keyUp(e){e.key===" "&&(this.space=!1),e.key.toLowerCase()==="f"&&this.pane.view.change({flicker:!1})}blur(){this.space=!1,this.begun&&"points"in this.begun&&this.endStroke(),this.begun=null,this.pane.view.flicker&&this.pane.view.change({flicker:!1})}actionOf(e){if(e.button===1||this.space)return"pan";if(e.button===2)return"zoom";let{view:t}=this.pane;if(t.mode==="swipe"){let{width:s,density:i}=this.pane.size();if(Math.abs(e.offsetX-t.divider*s/i)<14)return"divider"}return t.tool}hover(e){let{tool:t}=this.pane.view,s=t==="brush"||t==="erase"||t==="ruler";this.cross=s?this.onPicture(e.offsetX,e.offsetY):null,s&&this.pane.redraw()}pan(e,t){let s=this.pane.placing();if(!s)return;let{view:i}=this.pane,{width:n,height:o}=this.pane.picture(),{density:l}=this.pane.size(),a=h=>Math.max(-.25,Math.min(1.25,h));i.change({scale:s.scale,x:a(i.x-e*l/(n*s.scale)),y:a(i.y-t*l/(o*s.scale))})}zoom(e,t,s){let i=this.pane.placing();if(!i)return;let{density:n,width:o,height:l}=this.pane.size(),a=Math.max(.02,Math.min(32,i.scale*e)),h=this.onPicture(t,s),u=this.pane.picture();this.pane.view.change({scale:a,x:(h.x+(o/2-t*n)/a)/u.width,y:(h.y+(l/2-s*n)/a)/u.height})}arrow([e,t],s){let{view:i}=this.pane;if(i.tool==="brush"||i.tool==="erase"||i.tool==="ruler")this.moveCross(e,t,s?40:8);else if(s){i.turn(e*.04,t*.04);let n=o=>`${Math.round(100*o)} %`;this.pane.say(`Window ${n(i.width)}, level ${n(i.centre)}`)}else this.pan(-e*40,-t*40)}moveCross(e,t,s){let{density:i,width:n,height:o}=this.pane.size(),l=this.pane.placing()?.scale??1,a=this.pane.picture(),h=this.cross??this.onPicture(n/i/2,o/i/2),u=(c,m)=>Math.max(0,Math.min(m,c));this.cross={x:u(h.x+e*s*i/l,a.width),y:u(h.y+t*s*i/l,a.height)},this.begun&&"points"in this.begun?this.extend(this.cross):this.begun&&this.stretch(this.cross),this.pane.view.change(),this.pane.say(`Cross at ${Math.round(this.cross.x)}, ${Math.round(this.cross.y)}`)}enter(){let{view:e}=this.pane,{width:t,height:s,density:i}=this.pane.size(),n=this.cross??this.onPicture(t/i/2,s/i/2);this.cross=n,this.begun?("points"in this.begun?this.endStroke():this.dropPointRuler(),this.begun=null,this.pane.say("Ended")):e.tool==="ruler"?(this.begun={from:n,to:n},e.change({rulers:[...e.rulers,this.begun]}),this.pane.say("Ruler begun")):(e.tool==="brush"||e.tool==="erase")&&(this.begun=this.startStroke(n),this.pane.say("Stroke begun"))}startStroke(e){let{view:t}=this.pane,s={radius:t.radius,erase:t.tool==="erase",points:[e]};return t.change({strokes:[...t.strokes,s]}),s}extend(e){let t=this.pane.view.strokes.at(-1)?.points,s=t?.at(-1);s&&Math.hypot(s.x-e.x,s.y-e.y)>=1&&t.push(e)}endStroke(){this.pane.view.setStrokes([...this.pane.view.strokes])}dropStroke(){let{view:e}=this.pane;(this.action==="brush"||this.action==="erase")&&e.change({strokes:e.strokes.slice(0,-1)}),this.action==="ruler"&&e.change({rulers:e.rulers.slice(0,-1)})}stretch(e){let t=this.pane.view.rulers.at(-1);t&&(t.to=e,this.pane.view.change())}dropPointRuler(){let{view:e}=this.pane,t=e.rulers.at(-1);t&&Math.hypot(t.to.x-t.from.x,t.to.y-t.from.y)<2&&e.change({rulers:e.rulers.slice(0,-1)})}onPicture(e,t){let{density:s}=this.pane.size(),i=this.pane.placing()??{scale:1,left:0,top:0};return{x:(e*s-i.left)/i.scale,y:(t*s-i.top)/i.scale}}middle(){let e=[...this.pointers.values()],t=e.reduce((s,i)=>({x:s.x+i.x,y:s.y+i.y}),{x:0,y:0});return{x:t.x/Math.max(1,e.length),y:t.y/Math.max(1,e.length)}}spread(){let[e,t]=[...this.pointers.values()];return e&&t?Math.hypot(e.x-t.x,e.y-t.y):1}};var et="rgb(64 196 255)",N="#ffd479",Ze="rgb(255 255 255 / 70%)",Rt=[100,50,20,10,5,2,1];function tt(r,e){let t=r.getContext("2d"),{scale:s,left:i,top:n}=e.placing;if(t.setTransform(1,0,0,1,0,0),t.globalCompositeOperation="source-over",t.clearRect(0,0,r.width,r.height),e.view.strokes.length!==0){t.save(),t.beginPath(),t.rect(i,n,e.picture.width*s,e.picture.height*s),t.clip(),t.setTransform(s,0,0,s,i,n);for(let o of e.view.strokes)Tt(t,o);t.restore()}}function Tt(r,e){r.globalCompositeOperation=e.erase?"destination-out":"source-over",r.strokeStyle=r.fillStyle=et,r.lineCap=r.lineJoin="round",r.lineWidth=2*e.radius;let[t,...s]=e.points;if(r.beginPath(),s.length===0){r.arc(t.x,t.y,e.radius,0,2*Math.PI),r.fill();return}r.moveTo(t.x,t.y);for(let i of s)r.lineTo(i.x,i.y);r.stroke()}function st(r,e){let t=r.getContext("2d"),{view:s,density:i}=e;t.clearRect(0,0,r.width,r.height),t.lineWidth=1.5*i,t.font=`${12*i}px system-ui, sans-serif`,Ot(t,r,e);for(let n of s.rulers)Ut(t,e,n);if(s.mode==="swipe"){let n=Math.round(s.divider*r.width)+.5;H(t,N,[n,0],[n,r.height])}e.cross&&Nt(t,e,e.cross)}function Lt(r,e){let t=Math.hypot(r.to.x-r.from.x,r.to.y-r.from.y);return e===null?`${t.toFixed(0)} px`:`${(t*e).toFixed(1)} mm`}function Ut(r,e,t){let s=we(e,t.from),i=we(e,t.to);H(r,N,s,i);for(let[o,l]of[s,i])r.beginPath(),r.arc(o,l,3*e.density,0,2*Math.PI),r.stroke();let n=6*e.density;it(r,Lt(t,e.picture.spacing),i[0]+n,i[1]-n,e.density)}function Ot(r,e,{picture:t,placing:s,density:i}){if(t.spacing===null)return;let n=s.scale/t.spacing,o=Rt.find(c=>c*n<=e.height*.4);if(o===void 0)return;let l=e.width-10*i,a=e.height/2,h=o*n/2;H(r,Ze,[l,a-h],[l,a+h]);for(let c=0;c<=10;c++){let m=a-h+c/10*2*h,f=(c%5===0?8:4)*i;H(r,Ze,[l-f,m],[l,m])}let u=o>=10?`${o/10} cm`:`${o} mm`;r.textAlign="right",it(r,u,l,a+h+16*i,i),r.textAlign="left"}function Nt(r,e,t){let[s,i]=we(e,t),{view:n,density:o,placing:l}=e;(n.tool==="brush"||n.tool==="erase")&&(r.strokeStyle=n.tool==="erase"?N:et,r.beginPath(),r.arc(s,i,n.radius*l.scale,0,2*Math.PI),r.stroke());let a=6*o;H(r,N,[s-a,i],[s+a,i]),H(r,N,[s,i-a],[s,i+a])}function it(r,e,t,s,i){r.lineWidth=3*i,r.strokeStyle="rgb(0 0 0 / 85%)",r.strokeText(e,t,s),r.fillStyle=N,r.fillText(e,t,s),r.lineWidth=1.5*i}function H(r,e,t,s){r.strokeStyle=e,r.beginPath(),r.moveTo(...t),r.lineTo(...s),r.stroke()}function we({placing:r},e){return[e.x*r.scale+r.left,e.y*r.scale+r.top]}var Ht=[[150,24,24],[226,72,40],[255,214,102]],zt=[[22,50,150],[40,120,226],[128,226,255]],It=.3*65535,Dt=.004*65535;function nt({centre:r,width:e,invert:t},s){let i=(r-e/2)*65535,n=255/(e*65535);for(let o=0;o<65536;o++){let l=Math.round(Math.max(0,Math.min(255,(o-i)*n)));s[o]=t?255-l:l}}function Ft(){let e={red:new Uint8Array(131072),green:new Uint8Array(131072),blue:new Uint8Array(131072),cover:new Uint16Array(131072)};for(let t=0;t<131072;t++){let s=t-65535,i=Math.min(1,Math.abs(s)/It);if(Math.abs(s)<Dt)continue;let[n,o,l]=Bt(s>0?Ht:zt,i);e.red[t]=n,e.green[t]=o,e.blue[t]=l,e.cover[t]=Math.round(256*Math.min(1,i*2.5))}return e}function Bt(r,e){let t=e<.5?0:1,s=e*2-t;return r[t].map((i,n)=>Math.round(i+(r[t+1][n]-i)*s))}function se(r,e,t,s=0,i=r.width){let{width:n,values:o,y0:l,y1:a}=r,h=Math.max(s,r.x0),u=Math.max(h,Math.min(i,r.x1));for(let c=0;c<r.height;c++){let m=c*n;if(c<l||c>=a){t.fill(4278190080,m+s,m+i);continue}h>s&&t.fill(4278190080,m+s,m+Math.min(h,i));for(let f=m+h,b=m+u;f<b;f++)t[f]=4278190080|e[o[f]]*65793;u<i&&t.fill(4278190080,m+Math.max(u,s),m+i)}}var rt=null;function ot(r,e,t,s){let{width:i,values:n,x0:o,x1:l,y0:a,y1:h}=r,u=e.values;rt??=Ft();let{red:c,green:m,blue:f,cover:b}=rt,y=Math.round(256*t);for(let k=a;k<h;k++)for(let $=k*i+o,ie=k*i+l;$<ie;$++){let A=n[$]-u[$]+65535,w=b[A]*y>>8;if(w===0)continue;let x=s[$]&255,K=x+((c[A]-x)*w>>8),X=x+((m[A]-x)*w>>8),Y=x+((f[A]-x)*w>>8);s[$]=4278190080|Y<<16|X<<8|K}}var W=class{width=0;height=0;values=new Uint16Array(0);x0=0;x1=0;y0=0;y1=0;resize(e,t){this.width===e&&this.height===t||(this.width=e,this.height=t,this.values=new Uint16Array(e*t))}};async function $e(r,e){let t=await fetch(r,{signal:e,credentials:"same-origin"});if(!t.ok)throw new Error(await be(t));let s=Number(t.headers.get("X-Width")),i=Number(t.headers.get("X-Height")),n=Number(t.headers.get("X-Spacing-Mm"))||null,o=await t.arrayBuffer();if(!s||!i||o.byteLength!==2*s*i)throw new Error("The picture is not whole. Load the page again.");let l=t.headers.get("X-Synthetic")==="YES";return{...qt(new Uint16Array(o),s,i,n),synthetic:l}}function qt(r,e,t,s){let i=[{data:r,width:e,height:t}];for(let n=i[0];Math.min(n.width,n.height)>128;)n=Vt(n),i.push(n);return{width:e,height:t,spacing:s,levels:i}}function Vt({data:r,width:e,height:t}){let s=e>>1,i=t>>1,n=new Uint16Array(s*i);for(let o=0;o<i;o++){let l=2*o*e;for(let a=0,h=o*s;a<s;a++,h++,l+=2)n[h]=r[l]+r[l+1]+r[l+e]+r[l+e+1]+2>>2}return{data:n,width:s,height:i}}function xe(r,e,t){let{scale:s,left:i,top:n}=e,o=0;for(;o+1<r.levels.length&&s*2**(o+1)<=1;)o++;let l=r.levels[o],a=at(s,i,t.width,r.width,l.width),h=at(s,n,t.height,r.height,l.height);t.x0=a.first,t.x1=a.stop,t.y0=h.first,t.y1=h.stop;let u=l.data,c=t.values,{low:m,high:f,share:b}=a;for(let y=h.first;y<h.stop;y++){let k=h.low[y]*l.width,$=h.high[y]*l.width,ie=h.share[y],A=y*t.width+a.first;for(let w=a.first;w<a.stop;w++,A++){let x=m[w],K=f[w],X=b[w],Y=u[k+x],Pe=u[$+x],Me=(Y<<7)+(u[k+K]-Y)*X,ht=(Pe<<7)+(u[$+K]-Pe)*X;c[A]=(Me<<7)+(ht-Me)*ie+8192>>14}}}function at(r,e,t,s,i){let n=Math.max(0,Math.min(t,Math.ceil(e-.5))),o=Math.max(n,Math.min(t,Math.ceil(e+s*r-.5))),l=new Int32Array(t),a=new Int32Array(t),h=new Int32Array(t),u=i/s/r;for(let c=n;c<o;c++){let m=Math.max(0,Math.min(i-1,(c+.5-e)*u-.5));l[c]=Math.floor(m),a[c]=Math.min(l[c]+1,i-1),h[c]=Math.round((m-l[c])*128)}return{first:n,stop:o,low:l,high:a,share:h}}var Ee=class extends g{static properties={src:{type:String},baseline:{type:String},label:{type:String},group:{type:String},synthetic:{type:Boolean},brush:{type:Boolean},bar:{type:String},show:{type:String},message:{state:!0},words:{state:!0},marked:{state:!0}};view=new O;hands=new te(this);shown=null;prior=null;fetching=null;screen=new W;under=new W;sampled="";underSampled="";greys=new Uint8Array(65536);windowed="";image=null;frame=0;density=1;announced=!1;saying=0;resized=new ResizeObserver(e=>this.fitCanvas(e[0]));constructor(){super(),this.src=this.baseline=this.label=this.bar=this.show=this.message=this.words="",this.group=null,this.synthetic=this.brush=this.marked=!1}static styles=[ee,_`
      :host {
        display: flex;
        flex-direction: column;
        min-width: 0;
        min-height: 160px;
        background: #000;
      }
      .stage {
        position: relative;
        flex: 1;
        min-height: 0;
        overflow: hidden;
        background: #000;
        touch-action: none;
        user-select: none;
        -webkit-user-select: none;
        cursor: crosshair;
      }
      .stage:focus-visible {
        outline-offset: -2px;
      }
      canvas {
        position: absolute;
        inset: 0;
        width: 100%;
        height: 100%;
        pointer-events: none;
      }
      .region {
        opacity: 0.35;
      }
      .corner {
        position: absolute;
        max-width: 70%;
        padding: 2px 6px;
        background: rgb(0 0 0 / 62%);
        color: #e4e9ef;
        pointer-events: none;
      }
      .label {
        top: 0;
        left: 0;
      }
      .mark {
        top: 0;
        right: 0;
        color: #ffb22c;
        font-weight: 600;
        letter-spacing: 0.06em;
      }
      .numbers {
        bottom: 0;
        left: 0;
        font-variant-numeric: tabular-nums;
        font-size: 12px;
      }
      .message {
        position: absolute;
        inset: 45% 8px auto;
        margin: 0;
        text-align: center;
        color: #e4e9ef;
        pointer-events: none;
      }
      rm-bar {
        background: var(--panel, #14181d);
      }
      .hidden {
        position: absolute;
        width: 1px;
        height: 1px;
        overflow: hidden;
        clip-path: inset(50%);
        white-space: nowrap;
      }
    `];changed=()=>this.redraw();stroked=()=>{this.dispatchEvent(new CustomEvent("rm-strokes",{bubbles:!0,composed:!0}))};connectedCallback(){super.connectedCallback(),this.join(T(this.group))}disconnectedCallback(){super.disconnectedCallback(),this.fetching?.abort(),this.resized.disconnect(),this.view.removeEventListener("change",this.changed),this.view.removeEventListener("strokes",this.stroked)}join(e){this.view.removeEventListener("change",this.changed),this.view.removeEventListener("strokes",this.stroked),this.view=e,e.addEventListener("change",this.changed),e.addEventListener("strokes",this.stroked)}firstUpdated(){this.observe()}willUpdate(e){e.has("group")&&this.hasUpdated&&this.join(T(this.group))}updated(e){(e.has("src")||e.has("baseline"))&&this.load(e.has("src")),this.redraw()}observe(){let e=this.renderRoot.querySelector(".stage");try{this.resized.observe(e,{box:"device-pixel-content-box"})}catch{this.resized.observe(e)}}fitCanvas(e){let t=e.devicePixelContentBoxSize?.[0],s=t?.inlineSize??Math.round(e.contentRect.width*devicePixelRatio),i=t?.blockSize??Math.round(e.contentRect.height*devicePixelRatio);if(!(!s||!i)){for(let n of this.renderRoot.querySelectorAll("canvas"))n.width=s,n.height=i;this.density=s/Math.max(1,e.contentRect.width),this.screen.resize(s,i),this.under.resize(s,i),this.image=new ImageData(s,i),this.sampled=this.underSampled="",this.paint()}}async load(e){this.fetching?.abort();let t=this.fetching=new AbortController;if(this.prior=null,this.underSampled="",e&&(this.announced=!1,this.sampled="",this.shown=null,this.group||(this.view.change({strokes:[],rulers:[]}),this.view.reset()),this.redraw()),!!this.src)try{if(this.shown||(this.message="Loading",this.shown=await $e(this.src,t.signal),this.marked=this.shown.synthetic),this.message="",this.redraw(),this.baseline){let s=await $e(this.baseline,t.signal);if(!(s.width===this.shown.width&&s.height===this.shown.height))throw new Error("Baseline and picture differ in size.");this.prior=s,this.redraw()}}catch(s){if(t.signal.aborted)return;this.message=s.message,this.dispatchEvent(new CustomEvent("rm-error",{bubbles:!0,composed:!0}))}}get ready(){return this.announced}size(){return{width:this.screen.width||1,height:this.screen.height||1,density:this.density}}picture(){return this.shown??{width:1,height:1}}placing(){if(!this.shown||!this.screen.width)return null;let{width:e,height:t}=this.shown,s=Math.min(this.screen.width/e,this.screen.height/t),i=this.view.scale??s,n=Math.round(this.screen.width/2-this.view.x*e*i),o=Math.round(this.screen.height/2-this.view.y*t*i);return{scale:i,left:n,top:o}}redraw(){this.frame||(this.frame=requestAnimationFrame(()=>this.paint()))}help(){this.renderRoot.querySelector("rm-bar")?.help(),this.dispatchEvent(new CustomEvent("rm-help",{bubbles:!0,composed:!0}))}say(e){clearTimeout(this.saying),this.saying=window.setTimeout(()=>this.words=e,400)}paint(){cancelAnimationFrame(this.frame),this.frame=0;let e=this.renderRoot.querySelector(".picture"),t=e?.getContext("2d",{alpha:!1,willReadFrequently:!0}),s=this.placing();if(!e||!t||!this.image)return;if(!s||!this.shown){t.fillRect(0,0,e.width,e.height);return}this.refresh(s,this.shown);let i=new Uint32Array(this.image.data.buffer),{view:n}=this,o=this.prior!==null,l=o?this.mode:"picture";if(o&&n.flicker)se(this.under,this.greys,i);else{let a=l==="swipe"?n.divider*this.screen.width:0,h=Math.round(a);h>0&&se(this.under,this.greys,i,0,h),se(this.screen,this.greys,i,h),l==="difference"&&ot(this.screen,this.under,n.opacity,i)}t.putImageData(this.image,0,0),this.paintMarks(s,this.shown),this.finish()}get mode(){return this.show==="difference"?"difference":this.view.mode}refresh(e,t){let{view:s}=this,i=`${e.scale} ${e.left} ${e.top}`;this.sampled!==i&&(xe(t,e,this.screen),this.sampled=i);let n=s.flicker||this.mode!=="picture";this.prior&&n&&this.underSampled!==i&&(xe(this.prior,e,this.under),this.underSampled=i);let o=`${s.centre} ${s.width} ${s.invert}`;this.windowed!==o&&(nt(s,this.greys),this.windowed=o)}paintMarks(e,t){let{view:s,density:i}=this,o=s.tool==="brush"||s.tool==="erase"||s.tool==="ruler"?this.hands.cross:null,l={picture:t,placing:e,view:s,density:i,cross:o},[,a,h]=this.renderRoot.querySelectorAll("canvas");tt(a,l),st(h,l);let u=this.renderRoot.querySelector(".numbers"),c=y=>`${Math.round(100*y)}`,m=(100*e.scale).toFixed(e.scale<.1?1:0);u.textContent=`W ${c(s.width)}  L ${c(s.centre)}  ${m} %`;let f=this.renderRoot.querySelector(".label"),b=s.flicker&&this.prior!==null;f&&(f.textContent=b?"Baseline":this.label),this.renderRoot.querySelector(".mark")?.toggleAttribute("hidden",b&&!this.prior.synthetic)}finish(){this.announced||(this.announced=!0,this.dispatchEvent(new CustomEvent("rm-ready",{bubbles:!0,composed:!0})))}down=e=>{let t=e.currentTarget;t.focus({preventScroll:!0}),t.setPointerCapture(e.pointerId),e.preventDefault(),this.hands.down(e)};key=e=>{this.hands.key(e)&&(e.preventDefault(),e.stopPropagation())};render(){let e=this.hands;return d`<div
        class="stage"
        tabindex="0"
        role="application"
        aria-roledescription="radiograph viewer"
        aria-label=${`${this.label||"Radiograph"}${this.synthetic||this.marked?", synthetic":""}`}
        aria-describedby="how"
        @pointerdown=${this.down}
        @pointermove=${t=>e.move(t)}
        @pointerup=${t=>e.up(t)}
        @pointercancel=${t=>e.up(t)}
        @pointerleave=${()=>e.leave()}
        @wheel=${t=>e.wheel(t)}
        @dblclick=${()=>this.view.fit()}
        @contextmenu=${t=>t.preventDefault()}
        @keydown=${this.key}
        @keyup=${t=>e.keyUp(t)}
        @blur=${()=>e.blur()}
      >
        <canvas class="picture" aria-hidden="true"></canvas>
        <canvas class="region" aria-hidden="true"></canvas>
        <canvas class="marks" aria-hidden="true"></canvas>
        ${this.label?d`<div class="corner label"></div>`:p}
        ${this.synthetic||this.marked?d`<div class="corner mark">SYNTHETIC</div>`:p}
        <div class="corner numbers" aria-hidden="true"></div>
        <p class="message" role="status">${this.message}</p>
      </div>
      <div class="hidden" id="how">Press the question mark for the keys.</div>
      <div class="hidden" role="status" aria-live="polite">${this.words}</div>
      ${this.bar==="none"?p:d`<rm-bar .view=${this.view} ?brush=${this.brush} ?compare=${!!this.baseline}></rm-bar>`}`}};customElements.define("rm-viewer",Ee);var Se="studio",ke=["Baseline","Counterfactual","Sham","Difference"],jt={counterfactual:"edited"},Ae=300,lt=250,_e=class extends g{static properties={state:{state:!0},edits:{state:!0},source:{state:!0},current:{state:!0},compared:{state:!0},panes:{state:!0},message:{state:!0},filter:{state:!0},running:{state:!0},spelled:{state:!0},all:{state:!0}};view=T(Se);polling=0;awaited=0;constructor(){super(),this.state=this.spelled=null,this.edits=this.compared=[],this.source=this.message=this.filter="",this.current=0,this.panes=ke,this.running=this.all=!1}createRenderRoot(){return this}connectedCallback(){super.connectedCallback(),this.replaceChildren(),this.begin(),this.view.addEventListener("strokes",()=>this.requestUpdate()),document.addEventListener("dragover",e=>e.preventDefault()),document.addEventListener("drop",e=>{e.preventDefault(),this.open(e.dataTransfer?.files)}),document.addEventListener("keydown",e=>{e.ctrlKey&&e.key==="Enter"&&this.querySelector("form")?.requestSubmit()}),this.addEventListener("rm-case",e=>this.await(e.detail))}async begin(){await this.attempt(async()=>{this.state=await v("/state"),this.edits=this.state.edits,this.running=this.state.run,this.state.sources.length&&!this.running&&this.choose(this.state.sources[0].id)})}async attempt(e){this.message="";try{await e()}catch(t){this.message=t.message}}choose(e){e!==this.source&&(this.view.setStrokes([]),this.view.change({rulers:[]}),this.view.reset()),this.source=e,this.current=0,this.compared=[],this.spelled=null}show(e){e.source&&e.source!==this.source&&this.choose(e.source),this.current=e.number,this.compared=[],this.spelled=null}async open(e){await this.attempt(async()=>{for(let t of e??[]){this.message="Reading the file";let{id:s}=await Ye(t);this.state=await v("/state"),this.running=!1,this.choose(s)}this.message=""})}submit=e=>{e.preventDefault();let t=Wt(e.target),s=this.view.strokes;this.attempt(async()=>{this.await(await v("/edit",{source:this.source,options:t,strokes:s}))})};await(e){this.awaited=e.number,this.edits=[...this.edits.filter(t=>t.number!==e.number),e],clearTimeout(this.polling),this.polling=window.setTimeout(()=>{this.poll()},lt)}async poll(){await this.attempt(async()=>{this.edits=await v("/edits");let t=this.edits.find(i=>i.number===this.awaited);t&&t.arms.length>0?(this.awaited=0,this.show(t)):t?.state==="failed"&&(this.awaited=0);let s=t?.state==="failed"?t.message||t.status:"";s&&(this.message=s)}),this.edits.some(t=>t.state!=="done"&&t.state!=="failed")&&(this.polling=window.setTimeout(()=>{this.poll()},lt))}get edit(){return this.edits.find(e=>e.number===this.current)}async save(e){await this.attempt(async()=>{let{folder:t}=await v(`/edits/${e.number}/save`,{});this.message=`Saved in ${t}`})}async spell(e,t){await this.attempt(async()=>{this.spelled=await v(`/edits/${e.number}/spelling`),await navigator.clipboard?.writeText(this.spelled[t]).catch(()=>{}),this.message="Copied"})}render(){let{state:e}=this;return d`<div class="page">
      <header class="topbar">
        <h1>RoentMod studio</h1>
        ${e?.run?d`<div class="row" role="group" aria-label="View">
              ${[!0,!1].map(t=>d`<button
                    aria-pressed=${this.running===t?"true":"false"}
                    @click=${()=>this.running=t}
                  >
                    ${t?"Run":"Edit"}
                  </button>`)}
            </div>`:p}
        <span class="quiet">Edited pictures are <b class="mark">SYNTHETIC</b>. Research software,
          not for clinical use.</span>
        <span class="grow"></span>
        <span role="status" aria-live="polite" class="said">${this.message}</span>
        <label class="button open"
          >Open a picture<input
            type="file"
            multiple
            class="visually-hidden"
            @change=${t=>{this.open(t.target.files)}}
        /></label>
      </header>
      <div class="columns">
        ${this.running?d`<rm-run class="findings" aria-label="Run"></rm-run>`:d`<nav class="list" aria-label="Pictures and history">${this.lists()}</nav>`}
        <main class="work">
          <rm-bar group=${Se} ?brush=${!this.running} compare></rm-bar>
          ${this.paneButtons()}
          <div class="panes n${this.shown().length}">${this.shown()}</div>
        </main>
        <aside class="side" aria-label="Settings and readings">
          ${!this.running&&e?this.settings(e):p}
          ${this.edit?this.outcome(this.edit):p}
        </aside>
      </div>
    </div>`}lists(){let e=this.filter.toLowerCase(),t=(this.state?.sources??[]).filter(i=>i.name.toLowerCase().includes(e)),s=(this.state?.sources.length??0)>12;return d`<h2>Pictures</h2>
      ${s?d`<input
            type="search"
            aria-label="Filter pictures"
            placeholder="Filter"
            @input=${i=>this.filter=i.target.value}
          />`:p}
      <ul>
        ${t.slice(0,Ae).map(i=>d`<li>
              <button
                class="plain"
                title=${i.name}
                aria-pressed=${i.id===this.source?"true":"false"}
                @click=${()=>this.choose(i.id)}
              >
                ${i.name}
              </button>
            </li>`)}
      </ul>
      ${t.length===0?d`<p class="quiet">Drop a DICOM, PNG, JPEG or TIFF here, or open one.</p>`:p}
      ${t.length>Ae?d`<p class="quiet">And ${t.length-Ae} more: filter them.</p>`:p}
      <h2>History</h2>
      <ol class="history">
        ${[...this.edits].reverse().map(i=>this.past(i))}
      </ol>`}past(e){let t=e.state==="waiting"||e.state==="editing",s={waiting:"waiting",editing:"editing",shown:"reading",done:"",failed:"failed"};return d`<li>
      <input
        type="checkbox"
        aria-label=${`Compare ${e.number}`}
        title="Compare"
        .checked=${this.compared.includes(e.number)}
        ?disabled=${e.arms.length===0}
        @change=${()=>this.compare(e.number)}
      />
      <button
        class="plain"
        title=${e.title}
        aria-pressed=${e.number===this.current?"true":"false"}
        ?disabled=${t||e.arms.length===0}
        @click=${()=>this.show(e)}
      >
        ${e.number} ${e.title}${e.painted?" (painted)":""}
        <span class=${e.state==="failed"?"bad":"quiet"}>${s[e.state]}</span>
      </button>
      ${t?d`<progress aria-label="Editing"></progress>`:p}
    </li>`}compare(e){let t=this.compared.filter(s=>s!==e);this.compared=t.length<this.compared.length?t:[...t,e].slice(-6)}paneButtons(){if(!this.edit||this.compared.length>1)return p;let e=t=>{let s=this.panes.filter(n=>n!==t),i=ke.filter(n=>this.panes.includes(n)||n===t);this.panes=s.length===this.panes.length?i:s.length?s:this.panes};return d`<div class="row chosen" role="group" aria-label="Panes">
      ${ke.map(t=>d`<button
            aria-pressed=${this.panes.includes(t)?"true":"false"}
            @click=${()=>e(t)}
          >
            ${t}
          </button>`)}
    </div>`}shown(){let{edit:e}=this,t=(i,n,o,l,a="")=>d`<rm-viewer
        group=${Se}
        bar="none"
        label=${i}
        src=${n}
        baseline=${o}
        show=${a}
        ?brush=${!this.running}
        ?synthetic=${l}
      ></rm-viewer>`,s=(i,n)=>`/pixels/edit/${i.number}/${n}`;if(this.compared.length>1)return this.edits.filter(i=>this.compared.includes(i.number)).map(i=>t(`${i.number} ${i.title}`,s(i,"counterfactual"),s(i,"baseline"),!0));if(e){let i=s(e,"baseline"),n=s(e,"counterfactual"),o={Baseline:()=>t("Baseline",i,"",!1),Counterfactual:()=>t("Counterfactual",n,i,!0),Sham:()=>t("Sham",s(e,"sham"),i,!0),Difference:()=>t("Difference",n,i,!0,"difference")},l={Baseline:"baseline",Counterfactual:"counterfactual",Sham:"sham"};return this.panes.filter(a=>e.arms.includes(a==="Difference"?"counterfactual":l[a])).map(a=>o[a]())}return this.source?[t("Baseline",`/pixels/source/${this.source}/baseline`,"",!1)]:[]}settings(e){let t=(o,l)=>[l===void 0?p:d`<option value="">${l}</option>`,...o.map(a=>d`<option>${a}</option>`)],s=e.findings.map(o=>o.name),i=(o,l,a,h,u,c)=>d`<div class="field">
        <label for=${o}>${l}</label
        ><input id=${o} name=${o} type="number" value=${a} min=${h} max=${u} step=${c} />
      </div>`,n=this.view.strokes.length;return d`<form @submit=${this.submit} aria-label="Edit">
      <h2>Edit</h2>
      <div class="pair">
        <div class="field">
          <label for="action">Action</label
          ><select id="action" name="action">
            <option value="add">add</option>
            <option value="remove">remove</option>
          </select>
        </div>
        <div class="field">
          <label for="editor">Editor</label
          ><select id="editor" name="editor">${t(e.editors)}</select>
        </div>
      </div>
      <div class="field">
        <label for="findings">Findings (several are one edit)</label
        ><select id="findings" name="findings" multiple size="4">${t(s)}</select>
      </div>
      <div class="pair">
        <div class="field">
          <label for="side">Side, the patient's</label
          ><select id="side" name="side">${t(["left","right","both"],"any")}</select>
        </div>
        <div class="field">
          <label for="severity">Severity</label
          ><select id="severity" name="severity">${t(e.severities,"any")}</select>
        </div>
      </div>
      <div class="field">
        <label for="region">Region in words; or paint it with the brush</label
        ><input id="region" name="region" type="text" list="places" placeholder="anywhere" />
        <datalist id="places">
          ${["usual",...e.regions].map(o=>d`<option value=${o}></option>`)}
        </datalist>
        ${n?d`<span>Painted with ${n} ${n===1?"stroke":"strokes"}.</span>`:p}
      </div>
      <div class="pair three">
        ${i("strength","Strength","0.4","0.05","1","0.05")}
        ${i("guidance_scale","Guidance","4","0","100","0.5")}
        ${i("seed","Seed","0","0","999999999","1")}
      </div>
      <details>
        <summary>Hold, prompt, files</summary>
        <div class="field">
          <label for="hold">Hold (must not come along)</label
          ><select id="hold" name="hold" multiple size="3">${t(["linked",...s])}</select>
        </div>
        <div class="field">
          <label for="prompt">Free prompt, instead of our wording</label
          ><input id="prompt" name="prompt" type="text" />
        </div>
        <div class="pair">
          <div class="field">
            <label for="format">Format</label
            ><select id="format" name="format">${t(["same","png","dicom"])}</select>
          </div>
          <label class="row"><input type="checkbox" name="burn_in" /> SYNTHETIC in the pixels</label>
        </div>
      </details>
      <button class="primary wide" ?disabled=${!this.source}>Edit <kbd>Ctrl Enter</kbd></button>
    </form>`}outcome(e){let t=e.state==="done"&&e.source!=="";return d`<section class="outcome" aria-label="Outcome">
      <h2>${e.number} ${e.title}</h2>
      <p class="quiet">
        ${e.status==="ok"?"":`${e.status}. `}${e.message} Pictures after
        ${e.seconds.toFixed(2)} s.${e.words?d` Judge: ${e.words}.`:p}
      </p>
      ${e.readings.length?this.readings(e):d`<p class="quiet">Reading</p>`}
      ${e.source?d`<div class="row">
            <button ?disabled=${!t} @click=${()=>{this.save(e)}}>Save</button>
            <button @click=${()=>{this.spell(e,"command")}}>Copy command</button>
            <button @click=${()=>{this.spell(e,"python")}}>Copy Python</button>
          </div>`:p}
      ${this.spelled?d`<pre tabindex="0">${this.spelled.command}</pre>
            <pre tabindex="0">${this.spelled.python}</pre>`:p}
    </section>`}readings(e){let t=e.arms,s=a=>Number(a.counterfactual)-Number(a.baseline),i=a=>e.title.includes(a.finding.toLowerCase().replaceAll(" ","-")),n=e.readings.filter(a=>this.all||i(a)||Math.abs(s(a))>=.1),o=new Set(e.readings.map(a=>a.reader)).size>1,l=a=>Number(a).toFixed(2);return d`<table class="readings">
        <caption class="quiet">Probabilities read in each picture</caption>
        <thead>
          <tr>
            <th scope="col">Finding</th>
            ${t.map(a=>d`<th scope="col" class="number">${jt[a]??a}</th>`)}
            <th scope="col" class="number">change</th>
          </tr>
        </thead>
        <tbody>
          ${n.map(a=>d`<tr class=${i(a)?"asked":""}>
                <th scope="row">${a.finding}${o?d` <i>${a.reader}</i>`:p}</th>
                ${t.map(h=>d`<td class="number">${l(a[h])}</td>`)}
                <td class="number">
                  ${s(a)>=0?"+":"−"}${Math.abs(s(a)).toFixed(2)}
                </td>
              </tr>`)}
        </tbody>
      </table>
      <label class="row"
        ><input
          type="checkbox"
          .checked=${this.all}
          @change=${()=>this.all=!this.all}
        />all findings (${e.readings.length})</label
      >`}};function Wt(r){let e=new FormData(r),t=l=>String(e.get(l)??"").trim(),s={editor:t("editor")},i=e.getAll("findings").join(" + ");i&&(s[t("action")]=[i]);for(let l of["prompt","side","severity","region"])t(l)&&(s[l]=t(l));let n=e.getAll("hold");n.length&&(s.hold=n);let o={strength:.4,guidance_scale:4,seed:0};for(let[l,a]of Object.entries(o))t(l)&&Number(t(l))!==a&&(s[l]=Number(t(l)));return t("format")!=="same"&&(s.format=[t("format")]),e.get("burn_in")&&(s.burn_in=!0),s}customElements.define("rm-studio",_e);export{_e as Studio};
/*! Bundled license information:

@lit/reactive-element/css-tag.js:
  (**
   * @license
   * Copyright 2019 Google LLC
   * SPDX-License-Identifier: BSD-3-Clause
   *)

@lit/reactive-element/reactive-element.js:
lit-html/lit-html.js:
lit-element/lit-element.js:
  (**
   * @license
   * Copyright 2017 Google LLC
   * SPDX-License-Identifier: BSD-3-Clause
   *)

lit-html/is-server.js:
  (**
   * @license
   * Copyright 2022 Google LLC
   * SPDX-License-Identifier: BSD-3-Clause
   *)
*/
/*! Of Lit:

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
