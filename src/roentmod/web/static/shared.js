var Y=globalThis,Q=Y.ShadowRoot&&(Y.ShadyCSS===void 0||Y.ShadyCSS.nativeShadow)&&"adoptedStyleSheets"in Document.prototype&&"replace"in CSSStyleSheet.prototype,se=Symbol(),Ae=new WeakMap,z=class{constructor(e,t,i){if(this._$cssResult$=!0,i!==se)throw Error("CSSResult is not constructable. Use `unsafeCSS` or `css` instead.");this.cssText=e,this.t=t}get styleSheet(){let e=this.o,t=this.t;if(Q&&e===void 0){let i=t!==void 0&&t.length===1;i&&(e=Ae.get(t)),e===void 0&&((this.o=e=new CSSStyleSheet).replaceSync(this.cssText),i&&Ae.set(t,e))}return e}toString(){return this.cssText}},Ee=r=>new z(typeof r=="string"?r:r+"",void 0,se),_=(r,...e)=>{let t=r.length===1?r[0]:e.reduce((i,s,n)=>i+(o=>{if(o._$cssResult$===!0)return o.cssText;if(typeof o=="number")return o;throw Error("Value passed to 'css' function must be a 'css' function result: "+o+". Use 'unsafeCSS' to pass non-literal values, but take care to ensure page security.")})(s)+r[n+1],r[0]);return new z(t,r,se)},_e=(r,e)=>{if(Q)r.adoptedStyleSheets=e.map(t=>t instanceof CSSStyleSheet?t:t.styleSheet);else for(let t of e){let i=document.createElement("style"),s=Y.litNonce;s!==void 0&&i.setAttribute("nonce",s),i.textContent=t.cssText,r.appendChild(i)}},re=Q?r=>r:r=>r instanceof CSSStyleSheet?(e=>{let t="";for(let i of e.cssRules)t+=i.cssText;return Ee(t)})(r):r;var{is:it,defineProperty:st,getOwnPropertyDescriptor:rt,getOwnPropertyNames:nt,getOwnPropertySymbols:ot,getPrototypeOf:at}=Object,Z=globalThis,ke=Z.trustedTypes,ht=ke?ke.emptyScript:"",lt=Z.reactiveElementPolyfillSupport,H=(r,e)=>r,ne={toAttribute(r,e){switch(e){case Boolean:r=r?ht:null;break;case Object:case Array:r=r==null?r:JSON.stringify(r)}return r},fromAttribute(r,e){let t=r;switch(e){case Boolean:t=r!==null;break;case Number:t=r===null?null:Number(r);break;case Object:case Array:try{t=JSON.parse(r)}catch{t=null}}return t}},Me=(r,e)=>!it(r,e),Pe={attribute:!0,type:String,converter:ne,reflect:!1,useDefault:!1,hasChanged:Me};Symbol.metadata??=Symbol("metadata"),Z.litPropertyMetadata??=new WeakMap;var x=class extends HTMLElement{static addInitializer(e){this._$Ei(),(this.l??=[]).push(e)}static get observedAttributes(){return this.finalize(),this._$Eh&&[...this._$Eh.keys()]}static createProperty(e,t=Pe){if(t.state&&(t.attribute=!1),this._$Ei(),this.prototype.hasOwnProperty(e)&&((t=Object.create(t)).wrapped=!0),this.elementProperties.set(e,t),!t.noAccessor){let i=Symbol(),s=this.getPropertyDescriptor(e,i,t);s!==void 0&&st(this.prototype,e,s)}}static getPropertyDescriptor(e,t,i){let{get:s,set:n}=rt(this.prototype,e)??{get(){return this[t]},set(o){this[t]=o}};return{get:s,set(o){let a=s?.call(this);n?.call(this,o),this.requestUpdate(e,a,i)},configurable:!0,enumerable:!0}}static getPropertyOptions(e){return this.elementProperties.get(e)??Pe}static _$Ei(){if(this.hasOwnProperty(H("elementProperties")))return;let e=at(this);e.finalize(),e.l!==void 0&&(this.l=[...e.l]),this.elementProperties=new Map(e.elementProperties)}static finalize(){if(this.hasOwnProperty(H("finalized")))return;if(this.finalized=!0,this._$Ei(),this.hasOwnProperty(H("properties"))){let t=this.properties,i=[...nt(t),...ot(t)];for(let s of i)this.createProperty(s,t[s])}let e=this[Symbol.metadata];if(e!==null){let t=litPropertyMetadata.get(e);if(t!==void 0)for(let[i,s]of t)this.elementProperties.set(i,s)}this._$Eh=new Map;for(let[t,i]of this.elementProperties){let s=this._$Eu(t,i);s!==void 0&&this._$Eh.set(s,t)}this.elementStyles=this.finalizeStyles(this.styles)}static finalizeStyles(e){let t=[];if(Array.isArray(e)){let i=new Set(e.flat(1/0).reverse());for(let s of i)t.unshift(re(s))}else e!==void 0&&t.push(re(e));return t}static _$Eu(e,t){let i=t.attribute;return i===!1?void 0:typeof i=="string"?i:typeof e=="string"?e.toLowerCase():void 0}constructor(){super(),this._$Ep=void 0,this.isUpdatePending=!1,this.hasUpdated=!1,this._$Em=null,this._$Ev()}_$Ev(){this._$ES=new Promise(e=>this.enableUpdating=e),this._$AL=new Map,this._$E_(),this.requestUpdate(),this.constructor.l?.forEach(e=>e(this))}addController(e){(this._$EO??=new Set).add(e),this.renderRoot!==void 0&&this.isConnected&&e.hostConnected?.()}removeController(e){this._$EO?.delete(e)}_$E_(){let e=new Map,t=this.constructor.elementProperties;for(let i of t.keys())this.hasOwnProperty(i)&&(e.set(i,this[i]),delete this[i]);e.size>0&&(this._$Ep=e)}createRenderRoot(){let e=this.shadowRoot??this.attachShadow(this.constructor.shadowRootOptions);return _e(e,this.constructor.elementStyles),e}connectedCallback(){this.renderRoot??=this.createRenderRoot(),this.enableUpdating(!0),this._$EO?.forEach(e=>e.hostConnected?.())}enableUpdating(e){}disconnectedCallback(){this._$EO?.forEach(e=>e.hostDisconnected?.())}attributeChangedCallback(e,t,i){this._$AK(e,i)}_$ET(e,t){let i=this.constructor.elementProperties.get(e),s=this.constructor._$Eu(e,i);if(s!==void 0&&i.reflect===!0){let n=(i.converter?.toAttribute!==void 0?i.converter:ne).toAttribute(t,i.type);this._$Em=e,n==null?this.removeAttribute(s):this.setAttribute(s,n),this._$Em=null}}_$AK(e,t){let i=this.constructor,s=i._$Eh.get(e);if(s!==void 0&&this._$Em!==s){let n=i.getPropertyOptions(s),o=typeof n.converter=="function"?{fromAttribute:n.converter}:n.converter?.fromAttribute!==void 0?n.converter:ne;this._$Em=s;let a=o.fromAttribute(t,n.type);this[s]=a??this._$Ej?.get(s)??a,this._$Em=null}}requestUpdate(e,t,i,s=!1,n){if(e!==void 0){let o=this.constructor;if(s===!1&&(n=this[e]),i??=o.getPropertyOptions(e),!((i.hasChanged??Me)(n,t)||i.useDefault&&i.reflect&&n===this._$Ej?.get(e)&&!this.hasAttribute(o._$Eu(e,i))))return;this.C(e,t,i)}this.isUpdatePending===!1&&(this._$ES=this._$EP())}C(e,t,{useDefault:i,reflect:s,wrapped:n},o){i&&!(this._$Ej??=new Map).has(e)&&(this._$Ej.set(e,o??t??this[e]),n!==!0||o!==void 0)||(this._$AL.has(e)||(this.hasUpdated||i||(t=void 0),this._$AL.set(e,t)),s===!0&&this._$Em!==e&&(this._$Eq??=new Set).add(e))}async _$EP(){this.isUpdatePending=!0;try{await this._$ES}catch(t){Promise.reject(t)}let e=this.scheduleUpdate();return e!=null&&await e,!this.isUpdatePending}scheduleUpdate(){return this.performUpdate()}performUpdate(){if(!this.isUpdatePending)return;if(!this.hasUpdated){if(this.renderRoot??=this.createRenderRoot(),this._$Ep){for(let[s,n]of this._$Ep)this[s]=n;this._$Ep=void 0}let i=this.constructor.elementProperties;if(i.size>0)for(let[s,n]of i){let{wrapped:o}=n,a=this[s];o!==!0||this._$AL.has(s)||a===void 0||this.C(s,void 0,n,a)}}let e=!1,t=this._$AL;try{e=this.shouldUpdate(t),e?(this.willUpdate(t),this._$EO?.forEach(i=>i.hostUpdate?.()),this.update(t)):this._$EM()}catch(i){throw e=!1,this._$EM(),i}e&&this._$AE(t)}willUpdate(e){}_$AE(e){this._$EO?.forEach(t=>t.hostUpdated?.()),this.hasUpdated||(this.hasUpdated=!0,this.firstUpdated(e)),this.updated(e)}_$EM(){this._$AL=new Map,this.isUpdatePending=!1}get updateComplete(){return this.getUpdateComplete()}getUpdateComplete(){return this._$ES}shouldUpdate(e){return!0}update(e){this._$Eq&&=this._$Eq.forEach(t=>this._$ET(t,this[t])),this._$EM()}updated(e){}firstUpdated(e){}};x.elementStyles=[],x.shadowRootOptions={mode:"open"},x[H("elementProperties")]=new Map,x[H("finalized")]=new Map,lt?.({ReactiveElement:x}),(Z.reactiveElementVersions??=[]).push("2.1.2");var ue=globalThis,Ce=r=>r,J=ue.trustedTypes,Te=J?J.createPolicy("lit-html",{createHTML:r=>r}):void 0,He="$lit$",S=`lit$${Math.random().toFixed(9).slice(2)}$`,Ie="?"+S,ct=`<${Ie}>`,M=document,N=()=>M.createComment(""),D=r=>r===null||typeof r!="object"&&typeof r!="function",pe=Array.isArray,dt=r=>pe(r)||typeof r?.[Symbol.iterator]=="function",oe=`[ 	
\f\r]`,I=/<(?:(!--|\/[^a-zA-Z])|(\/?[a-zA-Z][^>\s]*)|(\/?$))/g,Re=/-->/g,Ue=/>/g,k=RegExp(`>|${oe}(?:([^\\s"'>=/]+)(${oe}*=${oe}*(?:[^ 	
\f\r"'\`<>=]|("|')|))|$)`,"g"),Oe=/'/g,Le=/"/g,Ne=/^(?:script|style|textarea|title)$/i,fe=r=>(e,...t)=>({_$litType$:r,strings:e,values:t}),m=fe(1),It=fe(2),Nt=fe(3),C=Symbol.for("lit-noChange"),p=Symbol.for("lit-nothing"),ze=new WeakMap,P=M.createTreeWalker(M,129);function De(r,e){if(!pe(r)||!r.hasOwnProperty("raw"))throw Error("invalid template strings array");return Te!==void 0?Te.createHTML(e):e}var ut=(r,e)=>{let t=r.length-1,i=[],s,n=e===2?"<svg>":e===3?"<math>":"",o=I;for(let a=0;a<t;a++){let h=r[a],l,d,c=-1,u=0;for(;u<h.length&&(o.lastIndex=u,d=o.exec(h),d!==null);)u=o.lastIndex,o===I?d[1]==="!--"?o=Re:d[1]!==void 0?o=Ue:d[2]!==void 0?(Ne.test(d[2])&&(s=RegExp("</"+d[2],"g")),o=k):d[3]!==void 0&&(o=k):o===k?d[0]===">"?(o=s??I,c=-1):d[1]===void 0?c=-2:(c=o.lastIndex-d[2].length,l=d[1],o=d[3]===void 0?k:d[3]==='"'?Le:Oe):o===Le||o===Oe?o=k:o===Re||o===Ue?o=I:(o=k,s=void 0);let f=o===k&&r[a+1].startsWith("/>")?" ":"";n+=o===I?h+ct:c>=0?(i.push(l),h.slice(0,c)+He+h.slice(c)+S+f):h+S+(c===-2?a:f)}return[De(r,n+(r[t]||"<?>")+(e===2?"</svg>":e===3?"</math>":"")),i]},V=class r{constructor({strings:e,_$litType$:t},i){let s;this.parts=[];let n=0,o=0,a=e.length-1,h=this.parts,[l,d]=ut(e,t);if(this.el=r.createElement(l,i),P.currentNode=this.el.content,t===2||t===3){let c=this.el.content.firstChild;c.replaceWith(...c.childNodes)}for(;(s=P.nextNode())!==null&&h.length<a;){if(s.nodeType===1){if(s.hasAttributes())for(let c of s.getAttributeNames())if(c.endsWith(He)){let u=d[o++],f=s.getAttribute(c).split(S),g=/([.?@])?(.*)/.exec(u);h.push({type:1,index:n,name:g[2],strings:f,ctor:g[1]==="."?he:g[1]==="?"?le:g[1]==="@"?ce:R}),s.removeAttribute(c)}else c.startsWith(S)&&(h.push({type:6,index:n}),s.removeAttribute(c));if(Ne.test(s.tagName)){let c=s.textContent.split(S),u=c.length-1;if(u>0){s.textContent=J?J.emptyScript:"";for(let f=0;f<u;f++)s.append(c[f],N()),P.nextNode(),h.push({type:2,index:++n});s.append(c[u],N())}}}else if(s.nodeType===8)if(s.data===Ie)h.push({type:2,index:n});else{let c=-1;for(;(c=s.data.indexOf(S,c+1))!==-1;)h.push({type:7,index:n}),c+=S.length-1}n++}}static createElement(e,t){let i=M.createElement("template");return i.innerHTML=e,i}};function T(r,e,t=r,i){if(e===C)return e;let s=i!==void 0?t._$Co?.[i]:t._$Cl,n=D(e)?void 0:e._$litDirective$;return s?.constructor!==n&&(s?._$AO?.(!1),n===void 0?s=void 0:(s=new n(r),s._$AT(r,t,i)),i!==void 0?(t._$Co??=[])[i]=s:t._$Cl=s),s!==void 0&&(e=T(r,s._$AS(r,e.values),s,i)),e}var ae=class{constructor(e,t){this._$AV=[],this._$AN=void 0,this._$AD=e,this._$AM=t}get parentNode(){return this._$AM.parentNode}get _$AU(){return this._$AM._$AU}u(e){let{el:{content:t},parts:i}=this._$AD,s=(e?.creationScope??M).importNode(t,!0);P.currentNode=s;let n=P.nextNode(),o=0,a=0,h=i[0];for(;h!==void 0;){if(o===h.index){let l;h.type===2?l=new B(n,n.nextSibling,this,e):h.type===1?l=new h.ctor(n,h.name,h.strings,this,e):h.type===6&&(l=new de(n,this,e)),this._$AV.push(l),h=i[++a]}o!==h?.index&&(n=P.nextNode(),o++)}return P.currentNode=M,s}p(e){let t=0;for(let i of this._$AV)i!==void 0&&(i.strings!==void 0?(i._$AI(e,i,t),t+=i.strings.length-2):i._$AI(e[t])),t++}},B=class r{get _$AU(){return this._$AM?._$AU??this._$Cv}constructor(e,t,i,s){this.type=2,this._$AH=p,this._$AN=void 0,this._$AA=e,this._$AB=t,this._$AM=i,this.options=s,this._$Cv=s?.isConnected??!0}get parentNode(){let e=this._$AA.parentNode,t=this._$AM;return t!==void 0&&e?.nodeType===11&&(e=t.parentNode),e}get startNode(){return this._$AA}get endNode(){return this._$AB}_$AI(e,t=this){e=T(this,e,t),D(e)?e===p||e==null||e===""?(this._$AH!==p&&this._$AR(),this._$AH=p):e!==this._$AH&&e!==C&&this._(e):e._$litType$!==void 0?this.$(e):e.nodeType!==void 0?this.T(e):dt(e)?this.k(e):this._(e)}O(e){return this._$AA.parentNode.insertBefore(e,this._$AB)}T(e){this._$AH!==e&&(this._$AR(),this._$AH=this.O(e))}_(e){this._$AH!==p&&D(this._$AH)?this._$AA.nextSibling.data=e:this.T(M.createTextNode(e)),this._$AH=e}$(e){let{values:t,_$litType$:i}=e,s=typeof i=="number"?this._$AC(e):(i.el===void 0&&(i.el=V.createElement(De(i.h,i.h[0]),this.options)),i);if(this._$AH?._$AD===s)this._$AH.p(t);else{let n=new ae(s,this),o=n.u(this.options);n.p(t),this.T(o),this._$AH=n}}_$AC(e){let t=ze.get(e.strings);return t===void 0&&ze.set(e.strings,t=new V(e)),t}k(e){pe(this._$AH)||(this._$AH=[],this._$AR());let t=this._$AH,i,s=0;for(let n of e)s===t.length?t.push(i=new r(this.O(N()),this.O(N()),this,this.options)):i=t[s],i._$AI(n),s++;s<t.length&&(this._$AR(i&&i._$AB.nextSibling,s),t.length=s)}_$AR(e=this._$AA.nextSibling,t){for(this._$AP?.(!1,!0,t);e!==this._$AB;){let i=Ce(e).nextSibling;Ce(e).remove(),e=i}}setConnected(e){this._$AM===void 0&&(this._$Cv=e,this._$AP?.(e))}},R=class{get tagName(){return this.element.tagName}get _$AU(){return this._$AM._$AU}constructor(e,t,i,s,n){this.type=1,this._$AH=p,this._$AN=void 0,this.element=e,this.name=t,this._$AM=s,this.options=n,i.length>2||i[0]!==""||i[1]!==""?(this._$AH=Array(i.length-1).fill(new String),this.strings=i):this._$AH=p}_$AI(e,t=this,i,s){let n=this.strings,o=!1;if(n===void 0)e=T(this,e,t,0),o=!D(e)||e!==this._$AH&&e!==C,o&&(this._$AH=e);else{let a=e,h,l;for(e=n[0],h=0;h<n.length-1;h++)l=T(this,a[i+h],t,h),l===C&&(l=this._$AH[h]),o||=!D(l)||l!==this._$AH[h],l===p?e=p:e!==p&&(e+=(l??"")+n[h+1]),this._$AH[h]=l}o&&!s&&this.j(e)}j(e){e===p?this.element.removeAttribute(this.name):this.element.setAttribute(this.name,e??"")}},he=class extends R{constructor(){super(...arguments),this.type=3}j(e){this.element[this.name]=e===p?void 0:e}},le=class extends R{constructor(){super(...arguments),this.type=4}j(e){this.element.toggleAttribute(this.name,!!e&&e!==p)}},ce=class extends R{constructor(e,t,i,s,n){super(e,t,i,s,n),this.type=5}_$AI(e,t=this){if((e=T(this,e,t,0)??p)===C)return;let i=this._$AH,s=e===p&&i!==p||e.capture!==i.capture||e.once!==i.once||e.passive!==i.passive,n=e!==p&&(i===p||s);s&&this.element.removeEventListener(this.name,this,i),n&&this.element.addEventListener(this.name,this,e),this._$AH=e}handleEvent(e){typeof this._$AH=="function"?this._$AH.call(this.options?.host??this.element,e):this._$AH.handleEvent(e)}},de=class{constructor(e,t,i){this.element=e,this.type=6,this._$AN=void 0,this._$AM=t,this.options=i}get _$AU(){return this._$AM._$AU}_$AI(e){T(this,e)}};var pt=ue.litHtmlPolyfillSupport;pt?.(V,B),(ue.litHtmlVersions??=[]).push("3.3.3");var Ve=(r,e,t)=>{let i=t?.renderBefore??e,s=i._$litPart$;if(s===void 0){let n=t?.renderBefore??null;i._$litPart$=s=new B(e.insertBefore(N(),n),n,void 0,t??{})}return s._$AI(r),s};var me=globalThis,y=class extends x{constructor(){super(...arguments),this.renderOptions={host:this},this._$Do=void 0}createRenderRoot(){let e=super.createRenderRoot();return this.renderOptions.renderBefore??=e.firstChild,e}update(e){let t=this.render();this.hasUpdated||(this.renderOptions.isConnected=this.isConnected),super.update(e),this._$Do=Ve(t,this.renderRoot,this.renderOptions)}connectedCallback(){super.connectedCallback(),this._$Do?.setConnected(!0)}disconnectedCallback(){super.disconnectedCallback(),this._$Do?.setConnected(!1)}render(){return C}};y._$litElement$=!0,y.finalized=!0,me.litElementHydrateSupport?.({LitElement:y});var ft=me.litElementPolyfillSupport;ft?.({LitElement:y});(me.litElementVersions??=[]).push("4.2.2");var G=_`
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
`;var j=[{name:"Full range",centre:.5,width:1},{name:"Lungs",centre:.3,width:.6},{name:"Mediastinum",centre:.7,width:.6},{name:"Bones",centre:.65,width:.45},{name:"High contrast",centre:.5,width:.5}],U=class extends EventTarget{centre=.5;width=1;invert=!1;scale=null;x=.5;y=.5;tool="window";mode="picture";divider=.5;opacity=.7;flicker=!1;radius=40;strokes=[];rulers=[];change(e={}){Object.assign(this,e),this.dispatchEvent(new Event("change"))}reset(){this.change({centre:.5,width:1,invert:!1,mode:"picture",flicker:!1,...Be})}fit(){this.change(Be)}turn(e,t){let i=Math.max(.01,Math.min(2,this.width*Math.exp(e*1.6))),s=Math.max(-.5,Math.min(1.5,this.centre+t*Math.max(.1,this.width)));this.change({width:i,centre:s})}preset(e){let{centre:t,width:i}=j[e%j.length];this.change({centre:t,width:i})}get presetNumber(){return j.findIndex(e=>e.centre===this.centre&&e.width===this.width)}undo(){this.tool==="ruler"?this.change({rulers:this.rulers.slice(0,-1)}):this.setStrokes(this.strokes.slice(0,-1))}setStrokes(e){this.change({strokes:e}),this.dispatchEvent(new Event("strokes"))}adjust(e){this.tool==="brush"||this.tool==="erase"?this.change({radius:Math.max(2,Math.min(400,Math.round(this.radius*1.25**e)))}):this.mode==="swipe"?this.change({divider:Math.max(0,Math.min(1,this.divider+.02*e))}):this.mode==="difference"&&this.change({opacity:Math.max(0,Math.min(1,this.opacity+.1*e))})}toggle(e){this.change({mode:this.mode===e?"picture":e})}},Be={scale:null,x:.5,y:.5},je=new Map;function q(r){if(!r)return new U;let e=je.get(r)??new U;return je.set(r,e),e}var mt=[["window","Window","Window and level: drag across and down (V)"],["pan","Pan","Move the picture; also middle drag or Space"],["zoom","Zoom","Zoom: drag up and down; also wheel and right drag"],["ruler","Ruler","Measure (M)"]],gt=[["brush","Brush","Paint the region that may change (B)"],["erase","Erase","Take from the region (E)"]],bt=[["swipe","Swipe","Baseline at the left of a divider (S)"],["difference","Difference","Difference from the baseline in colour (D)"]],vt=[["Left drag; Shift + arrows","window (across) and level (down)"],["Wheel, right drag, pinch; + and −","zoom"],["Middle drag, Space + drag, two fingers; arrows","move the picture"],["Double click; A","fit the whole picture"],["T","true pixels, 1:1"],["I","invert"],["P","next preset"],["R","reset"],["hold F","flicker: the baseline"],["S","swipe between baseline and picture"],["D","difference from the baseline"],["[ and ]","less and more: divider, opacity, radius"],["M","ruler; arrows move the cross, Enter sets both ends"],["B, E","brush, erase; arrows move the cross, Enter begins and ends a stroke"],["Z","undo the last stroke or ruler"],["V or Escape","back to window and level"],["?","this panel"]],ge=class extends y{static properties={group:{type:String},brush:{type:Boolean},compare:{type:Boolean},view:{attribute:!1}};watched;constructor(){super(),this.group=null,this.brush=!1,this.compare=!1}static styles=[G,_`
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
    `];refresh=()=>this.requestUpdate();connectedCallback(){super.connectedCallback(),this.watched?.addEventListener("change",this.refresh)}disconnectedCallback(){super.disconnectedCallback(),this.watched?.removeEventListener("change",this.refresh)}shared(){let e=this.view??this.watched??q(this.group);return e!==this.watched&&(this.watched?.removeEventListener("change",this.refresh),this.watched=e,e.addEventListener("change",this.refresh)),e}help(){this.renderRoot.querySelector("dialog")?.showModal()}render(){let e=this.shared(),t=n=>n?"true":"false",i=([n,o,a])=>m`<button
        aria-pressed=${t(e.tool===n)}
        title=${a}
        @click=${()=>e.change({tool:e.tool===n?"window":n})}
      >
        ${o}
      </button>`,s=([n,o,a])=>m`<button
        aria-pressed=${t(e.mode===n)}
        title=${a}
        @click=${()=>e.toggle(n)}
      >
        ${o}
      </button>`;return m`<div class="bar" role="toolbar" aria-label="Viewer tools">
        ${mt.map(i)}<span class="gap"></span>
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
          ${j.map((n,o)=>m`<option .selected=${e.presetNumber===o}>${n.name}</option>`)}
        </select>
        <button title="Reset window, zoom and comparison (R)" @click=${()=>e.reset()}>
          Reset
        </button>
        ${this.compare?this.comparing(e,s):p}
        ${this.brush?this.brushing(e,i):p}
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
        <dl>${vt.map(([n,o])=>m`<dt>${n}</dt><dd>${o}</dd>`)}</dl>
        <p>Keys work while a picture has the focus: click it, or go to it with Tab.</p>
        <form method="dialog"><button>Close</button></form>
      </dialog>`}comparing(e,t){let i=(n,o,a)=>m`<label
        >${n}<input
          type="range"
          min="0"
          max="100"
          .value=${String(Math.round(o*100))}
          @input=${h=>a(Number(h.target.value)/100)}
      /></label>`,s=n=>()=>e.change({flicker:n});return m`<span class="gap"></span>
      <button
        title="Hold to see the baseline (hold F)"
        @pointerdown=${s(!0)}
        @pointerup=${s(!1)}
        @pointerleave=${s(!1)}
        @keydown=${n=>(n.key==="Enter"||n.key===" ")&&s(!0)()}
        @keyup=${s(!1)}
        @blur=${s(!1)}
      >
        Flicker
      </button>
      ${bt.map(t)}
      ${e.mode==="difference"?i("Opacity",e.opacity,n=>e.change({opacity:n})):p}
      ${e.mode==="swipe"?i("Divider",e.divider,n=>e.change({divider:n})):p}`}brushing(e,t){let i=e.tool==="brush"||e.tool==="erase";return m`<span class="gap"></span>${gt.map(t)}
      ${i?m`<label
            >Radius<input
              type="range"
              min="2"
              max="400"
              .value=${String(e.radius)}
              @input=${s=>e.change({radius:Number(s.target.value)})}
          /></label>`:p}
      <button
        title="Take the whole region away"
        ?disabled=${e.strokes.length===0}
        @click=${()=>e.setStrokes([])}
      >
        Clear
      </button>`}};customElements.define("rm-bar",ge);var yt={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]},ee=class{constructor(e){this.pane=e}pane;cross=null;pointers=new Map;action=null;space=!1;pinched=0;begun=null;down(e){if(!this.pane.placing())return;if(this.pointers.set(e.pointerId,{x:e.offsetX,y:e.offsetY}),this.pointers.size===2){this.dropStroke(),this.action="pinch",this.pinched=this.spread();return}this.action=this.actionOf(e);let t=this.onPicture(e.offsetX,e.offsetY),{view:i}=this.pane;(this.action==="brush"||this.action==="erase")&&this.startStroke(t),this.action==="ruler"&&i.change({rulers:[...i.rulers,{from:t,to:t}]})}move(e){if(!this.pane.placing())return;this.hover(e);let t=this.pointers.get(e.pointerId);if(!t)return;let{view:i}=this.pane,s=e.offsetX-t.x,n=e.offsetY-t.y,o=this.middle();this.pointers.set(e.pointerId,{x:e.offsetX,y:e.offsetY});let{width:a,height:h,density:l}=this.pane.size();switch(this.action){case"window":i.turn(s*l/a,n*l/h);break;case"pan":this.pan(s,n);break;case"zoom":this.zoom(Math.exp(-n/150),a/l/2,h/l/2);break;case"divider":i.change({divider:Math.max(0,Math.min(1,e.offsetX*l/a))});break;case"pinch":{let d=this.middle();this.pan(d.x-o.x,d.y-o.y);let c=this.spread();this.zoom(c/Math.max(1,this.pinched),d.x,d.y),this.pinched=c;break}case"ruler":this.stretch(this.onPicture(e.offsetX,e.offsetY));break;case"brush":case"erase":for(let d of e.getCoalescedEvents?.()??[e])this.extend(this.onPicture(d.offsetX,d.offsetY));this.extend(this.onPicture(e.offsetX,e.offsetY)),i.change()}}up(e){this.pointers.delete(e.pointerId)&&((this.action==="brush"||this.action==="erase")&&this.endStroke(),this.action==="ruler"&&this.dropPointRuler(),this.action=null)}leave(){this.cross&&!this.begun&&(this.cross=null,this.pane.redraw())}wheel(e){e.preventDefault();let t=e.deltaMode===1?16:1;this.zoom(Math.exp(-e.deltaY*t/400),e.offsetX,e.offsetY)}key(e){let{view:t}=this.pane;if(e.metaKey||e.altKey||e.ctrlKey&&e.key.toLowerCase()!=="z")return!1;let i=yt[e.key];if(i)this.arrow(i,e.shiftKey);else if(!this.letter(e,t))return!1;return!0}letter(e,t){let{width:i,height:s,density:n}=this.pane.size(),[o,a]=[i/n/2,s/n/2],h=c=>()=>t.change({tool:t.tool===c?"window":c}),l={"+":()=>this.zoom(1.25,o,a),"=":()=>this.zoom(1.25,o,a),"-":()=>this.zoom(.8,o,a),a:()=>t.fit(),t:()=>t.change({scale:1}),i:()=>t.change({invert:!t.invert}),p:()=>t.preset(t.presetNumber+1),r:()=>t.reset(),f:()=>t.change({flicker:!0}),s:()=>t.toggle("swipe"),d:()=>t.toggle("difference"),m:h("ruler"),...this.pane.brush?{b:h("brush"),e:h("erase")}:{},z:()=>t.undo(),v:()=>t.change({tool:"window"}),escape:()=>t.change({tool:"window"}),"[":()=>t.adjust(-1),"]":()=>t.adjust(1),"?":()=>this.pane.help()," ":()=>{this.space=!0},enter:()=>this.enter()},d=e.key.toLowerCase();return Object.hasOwn(l,d)?(e.repeat&&(d==="f"||d===" ")||l[d](),!0):!1}keyUp(e){e.key===" "&&(this.space=!1),e.key.toLowerCase()==="f"&&this.pane.view.change({flicker:!1})}blur(){this.space=!1,this.begun&&"points"in this.begun&&this.endStroke(),this.begun=null,this.pane.view.flicker&&this.pane.view.change({flicker:!1})}actionOf(e){if(e.button===1||this.space)return"pan";if(e.button===2)return"zoom";let{view:t}=this.pane;if(t.mode==="swipe"){let{width:i,density:s}=this.pane.size();if(Math.abs(e.offsetX-t.divider*i/s)<14)return"divider"}return t.tool}hover(e){let{tool:t}=this.pane.view,i=t==="brush"||t==="erase"||t==="ruler";this.cross=i?this.onPicture(e.offsetX,e.offsetY):null,i&&this.pane.redraw()}pan(e,t){let i=this.pane.placing();if(!i)return;let{view:s}=this.pane,{width:n,height:o}=this.pane.picture(),{density:a}=this.pane.size(),h=l=>Math.max(-.25,Math.min(1.25,l));s.change({scale:i.scale,x:h(s.x-e*a/(n*i.scale)),y:h(s.y-t*a/(o*i.scale))})}zoom(e,t,i){let s=this.pane.placing();if(!s)return;let{density:n,width:o,height:a}=this.pane.size(),h=Math.max(.02,Math.min(32,s.scale*e)),l=this.onPicture(t,i),d=this.pane.picture();this.pane.view.change({scale:h,x:(l.x+(o/2-t*n)/h)/d.width,y:(l.y+(a/2-i*n)/h)/d.height})}arrow([e,t],i){let{view:s}=this.pane;if(s.tool==="brush"||s.tool==="erase"||s.tool==="ruler")this.moveCross(e,t,i?40:8);else if(i){s.turn(e*.04,t*.04);let n=o=>`${Math.round(100*o)} %`;this.pane.say(`Window ${n(s.width)}, level ${n(s.centre)}`)}else this.pan(-e*40,-t*40)}moveCross(e,t,i){let{density:s,width:n,height:o}=this.pane.size(),a=this.pane.placing()?.scale??1,h=this.pane.picture(),l=this.cross??this.onPicture(n/s/2,o/s/2),d=(c,u)=>Math.max(0,Math.min(u,c));this.cross={x:d(l.x+e*i*s/a,h.width),y:d(l.y+t*i*s/a,h.height)},this.begun&&"points"in this.begun?this.extend(this.cross):this.begun&&this.stretch(this.cross),this.pane.view.change(),this.pane.say(`Cross at ${Math.round(this.cross.x)}, ${Math.round(this.cross.y)}`)}enter(){let{view:e}=this.pane,{width:t,height:i,density:s}=this.pane.size(),n=this.cross??this.onPicture(t/s/2,i/s/2);this.cross=n,this.begun?("points"in this.begun?this.endStroke():this.dropPointRuler(),this.begun=null,this.pane.say("Ended")):e.tool==="ruler"?(this.begun={from:n,to:n},e.change({rulers:[...e.rulers,this.begun]}),this.pane.say("Ruler begun")):(e.tool==="brush"||e.tool==="erase")&&(this.begun=this.startStroke(n),this.pane.say("Stroke begun"))}startStroke(e){let{view:t}=this.pane,i={radius:t.radius,erase:t.tool==="erase",points:[e]};return t.change({strokes:[...t.strokes,i]}),i}extend(e){let t=this.pane.view.strokes.at(-1)?.points,i=t?.at(-1);i&&Math.hypot(i.x-e.x,i.y-e.y)>=1&&t.push(e)}endStroke(){this.pane.view.setStrokes([...this.pane.view.strokes])}dropStroke(){let{view:e}=this.pane;(this.action==="brush"||this.action==="erase")&&e.change({strokes:e.strokes.slice(0,-1)}),this.action==="ruler"&&e.change({rulers:e.rulers.slice(0,-1)})}stretch(e){let t=this.pane.view.rulers.at(-1);t&&(t.to=e,this.pane.view.change())}dropPointRuler(){let{view:e}=this.pane,t=e.rulers.at(-1);t&&Math.hypot(t.to.x-t.from.x,t.to.y-t.from.y)<2&&e.change({rulers:e.rulers.slice(0,-1)})}onPicture(e,t){let{density:i}=this.pane.size(),s=this.pane.placing()??{scale:1,left:0,top:0};return{x:(e*i-s.left)/s.scale,y:(t*i-s.top)/s.scale}}middle(){let e=[...this.pointers.values()],t=e.reduce((i,s)=>({x:i.x+s.x,y:i.y+s.y}),{x:0,y:0});return{x:t.x/Math.max(1,e.length),y:t.y/Math.max(1,e.length)}}spread(){let[e,t]=[...this.pointers.values()];return e&&t?Math.hypot(e.x-t.x,e.y-t.y):1}};var We="rgb(64 196 255)",O="#ffd479",qe="rgb(255 255 255 / 70%)",wt=[100,50,20,10,5,2,1];function Ke(r,e){let t=r.getContext("2d"),{scale:i,left:s,top:n}=e.placing;if(t.setTransform(1,0,0,1,0,0),t.globalCompositeOperation="source-over",t.clearRect(0,0,r.width,r.height),e.view.strokes.length!==0){t.save(),t.beginPath(),t.rect(s,n,e.picture.width*i,e.picture.height*i),t.clip(),t.setTransform(i,0,0,i,s,n);for(let o of e.view.strokes)$t(t,o);t.restore()}}function $t(r,e){r.globalCompositeOperation=e.erase?"destination-out":"source-over",r.strokeStyle=r.fillStyle=We,r.lineCap=r.lineJoin="round",r.lineWidth=2*e.radius;let[t,...i]=e.points;if(r.beginPath(),i.length===0){r.arc(t.x,t.y,e.radius,0,2*Math.PI),r.fill();return}r.moveTo(t.x,t.y);for(let s of i)r.lineTo(s.x,s.y);r.stroke()}function Fe(r,e){let t=r.getContext("2d"),{view:i,density:s}=e;t.clearRect(0,0,r.width,r.height),t.lineWidth=1.5*s,t.font=`${12*s}px system-ui, sans-serif`,At(t,r,e);for(let n of i.rulers)St(t,e,n);if(i.mode==="swipe"){let n=Math.round(i.divider*r.width)+.5;L(t,O,[n,0],[n,r.height])}e.cross&&Et(t,e,e.cross)}function xt(r,e){let t=Math.hypot(r.to.x-r.from.x,r.to.y-r.from.y);return e===null?`${t.toFixed(0)} px`:`${(t*e).toFixed(1)} mm`}function St(r,e,t){let i=be(e,t.from),s=be(e,t.to);L(r,O,i,s);for(let[o,a]of[i,s])r.beginPath(),r.arc(o,a,3*e.density,0,2*Math.PI),r.stroke();let n=6*e.density;Xe(r,xt(t,e.picture.spacing),s[0]+n,s[1]-n,e.density)}function At(r,e,{picture:t,placing:i,density:s}){if(t.spacing===null)return;let n=i.scale/t.spacing,o=wt.find(c=>c*n<=e.height*.4);if(o===void 0)return;let a=e.width-10*s,h=e.height/2,l=o*n/2;L(r,qe,[a,h-l],[a,h+l]);for(let c=0;c<=10;c++){let u=h-l+c/10*2*l,f=(c%5===0?8:4)*s;L(r,qe,[a-f,u],[a,u])}let d=o>=10?`${o/10} cm`:`${o} mm`;r.textAlign="right",Xe(r,d,a,h+l+16*s,s),r.textAlign="left"}function Et(r,e,t){let[i,s]=be(e,t),{view:n,density:o,placing:a}=e;(n.tool==="brush"||n.tool==="erase")&&(r.strokeStyle=n.tool==="erase"?O:We,r.beginPath(),r.arc(i,s,n.radius*a.scale,0,2*Math.PI),r.stroke());let h=6*o;L(r,O,[i-h,s],[i+h,s]),L(r,O,[i,s-h],[i,s+h])}function Xe(r,e,t,i,s){r.lineWidth=3*s,r.strokeStyle="rgb(0 0 0 / 85%)",r.strokeText(e,t,i),r.fillStyle=O,r.fillText(e,t,i),r.lineWidth=1.5*s}function L(r,e,t,i){r.strokeStyle=e,r.beginPath(),r.moveTo(...t),r.lineTo(...i),r.stroke()}function be({placing:r},e){return[e.x*r.scale+r.left,e.y*r.scale+r.top]}var _t=[[150,24,24],[226,72,40],[255,214,102]],kt=[[22,50,150],[40,120,226],[128,226,255]],Pt=.3*65535,Mt=.004*65535;function Qe({centre:r,width:e,invert:t},i){let s=(r-e/2)*65535,n=255/(e*65535);for(let o=0;o<65536;o++){let a=Math.round(Math.max(0,Math.min(255,(o-s)*n)));i[o]=t?255-a:a}}function Ct(){let e={red:new Uint8Array(131072),green:new Uint8Array(131072),blue:new Uint8Array(131072),cover:new Uint16Array(131072)};for(let t=0;t<131072;t++){let i=t-65535,s=Math.min(1,Math.abs(i)/Pt);if(Math.abs(i)<Mt)continue;let[n,o,a]=Tt(i>0?_t:kt,s);e.red[t]=n,e.green[t]=o,e.blue[t]=a,e.cover[t]=Math.round(256*Math.min(1,s*2.5))}return e}function Tt(r,e){let t=e<.5?0:1,i=e*2-t;return r[t].map((s,n)=>Math.round(s+(r[t+1][n]-s)*i))}function te(r,e,t,i=0,s=r.width){let{width:n,values:o,y0:a,y1:h}=r,l=Math.max(i,r.x0),d=Math.max(l,Math.min(s,r.x1));for(let c=0;c<r.height;c++){let u=c*n;if(c<a||c>=h){t.fill(4278190080,u+i,u+s);continue}l>i&&t.fill(4278190080,u+i,u+Math.min(l,s));for(let f=u+l,g=u+d;f<g;f++)t[f]=4278190080|e[o[f]]*65793;d<s&&t.fill(4278190080,u+Math.max(d,i),u+s)}}var Ye=null;function Ze(r,e,t,i){let{width:s,values:n,x0:o,x1:a,y0:h,y1:l}=r,d=e.values;Ye??=Ct();let{red:c,green:u,blue:f,cover:g}=Ye,b=Math.round(256*t);for(let A=h;A<l;A++)for(let w=A*s+o,ie=A*s+a;w<ie;w++){let E=n[w]-d[w]+65535,v=g[E]*b>>8;if(v===0)continue;let $=i[w]&255,K=$+((c[E]-$)*v>>8),F=$+((u[E]-$)*v>>8),X=$+((f[E]-$)*v>>8);i[w]=4278190080|X<<16|F<<8|K}}var Je=()=>document.querySelector('meta[name="token"]')?.content??"";async function li(r,e){let t={credentials:"same-origin"};return e!==void 0&&(t.method="POST",t.headers={"Content-Type":"application/json","x-csrftoken":Je()},t.body=JSON.stringify(e)),Ge(await fetch(r,t))}async function ci(r){let e={"Content-Type":"application/octet-stream","x-csrftoken":Je(),"x-name":encodeURIComponent(r.name)};return Ge(await fetch("/drop",{method:"POST",headers:e,body:r}))}async function Ge(r){if(r.ok)return await r.json();throw new Error(await ve(r))}async function ve(r){return new DOMParser().parseFromString(await r.text(),"text/html").getElementById("message")?.textContent||`The server answered ${r.status}.`}var W=class{width=0;height=0;values=new Uint16Array(0);x0=0;x1=0;y0=0;y1=0;resize(e,t){this.width===e&&this.height===t||(this.width=e,this.height=t,this.values=new Uint16Array(e*t))}};async function ye(r,e){let t=await fetch(r,{signal:e,credentials:"same-origin"});if(!t.ok)throw new Error(await ve(t));let i=Number(t.headers.get("X-Width")),s=Number(t.headers.get("X-Height")),n=Number(t.headers.get("X-Spacing-Mm"))||null,o=await t.arrayBuffer();if(!i||!s||o.byteLength!==2*i*s)throw new Error("The picture is not whole. Load the page again.");let a=t.headers.get("X-Synthetic")==="YES";return{...Rt(new Uint16Array(o),i,s,n),synthetic:a}}function Rt(r,e,t,i){let s=[{data:r,width:e,height:t}];for(let n=s[0];Math.min(n.width,n.height)>128;)n=Ut(n),s.push(n);return{width:e,height:t,spacing:i,levels:s}}function Ut({data:r,width:e,height:t}){let i=e>>1,s=t>>1,n=new Uint16Array(i*s);for(let o=0;o<s;o++){let a=2*o*e;for(let h=0,l=o*i;h<i;h++,l++,a+=2)n[l]=r[a]+r[a+1]+r[a+e]+r[a+e+1]+2>>2}return{data:n,width:i,height:s}}function we(r,e,t){let{scale:i,left:s,top:n}=e,o=0;for(;o+1<r.levels.length&&i*2**(o+1)<=1;)o++;let a=r.levels[o],h=et(i,s,t.width,r.width,a.width),l=et(i,n,t.height,r.height,a.height);t.x0=h.first,t.x1=h.stop,t.y0=l.first,t.y1=l.stop;let d=a.data,c=t.values,{low:u,high:f,share:g}=h;for(let b=l.first;b<l.stop;b++){let A=l.low[b]*a.width,w=l.high[b]*a.width,ie=l.share[b],E=b*t.width+h.first;for(let v=h.first;v<h.stop;v++,E++){let $=u[v],K=f[v],F=g[v],X=d[A+$],xe=d[w+$],Se=(X<<7)+(d[A+K]-X)*F,tt=(xe<<7)+(d[w+K]-xe)*F;c[E]=(Se<<7)+(tt-Se)*ie+8192>>14}}}function et(r,e,t,i,s){let n=Math.max(0,Math.min(t,Math.ceil(e-.5))),o=Math.max(n,Math.min(t,Math.ceil(e+i*r-.5))),a=new Int32Array(t),h=new Int32Array(t),l=new Int32Array(t),d=s/i/r;for(let c=n;c<o;c++){let u=Math.max(0,Math.min(s-1,(c+.5-e)*d-.5));a[c]=Math.floor(u),h[c]=Math.min(a[c]+1,s-1),l[c]=Math.round((u-a[c])*128)}return{first:n,stop:o,low:a,high:h,share:l}}var $e=class extends y{static properties={src:{type:String},baseline:{type:String},label:{type:String},group:{type:String},synthetic:{type:Boolean},brush:{type:Boolean},bar:{type:String},show:{type:String},message:{state:!0},words:{state:!0},marked:{state:!0}};view=new U;hands=new ee(this);shown=null;prior=null;fetching=null;screen=new W;under=new W;sampled="";underSampled="";greys=new Uint8Array(65536);windowed="";image=null;frame=0;density=1;announced=!1;saying=0;resized=new ResizeObserver(e=>this.fitCanvas(e[0]));constructor(){super(),this.src=this.baseline=this.label=this.bar=this.show=this.message=this.words="",this.group=null,this.synthetic=this.brush=this.marked=!1}static styles=[G,_`
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
    `];changed=()=>this.redraw();stroked=()=>{this.dispatchEvent(new CustomEvent("rm-strokes",{bubbles:!0,composed:!0}))};connectedCallback(){super.connectedCallback(),this.join(q(this.group))}disconnectedCallback(){super.disconnectedCallback(),this.fetching?.abort(),this.resized.disconnect(),this.view.removeEventListener("change",this.changed),this.view.removeEventListener("strokes",this.stroked)}join(e){this.view.removeEventListener("change",this.changed),this.view.removeEventListener("strokes",this.stroked),this.view=e,e.addEventListener("change",this.changed),e.addEventListener("strokes",this.stroked)}firstUpdated(){this.observe()}willUpdate(e){e.has("group")&&this.hasUpdated&&this.join(q(this.group))}updated(e){(e.has("src")||e.has("baseline"))&&this.load(e.has("src")),this.redraw()}observe(){let e=this.renderRoot.querySelector(".stage");try{this.resized.observe(e,{box:"device-pixel-content-box"})}catch{this.resized.observe(e)}}fitCanvas(e){let t=e.devicePixelContentBoxSize?.[0],i=t?.inlineSize??Math.round(e.contentRect.width*devicePixelRatio),s=t?.blockSize??Math.round(e.contentRect.height*devicePixelRatio);if(!(!i||!s)){for(let n of this.renderRoot.querySelectorAll("canvas"))n.width=i,n.height=s;this.density=i/Math.max(1,e.contentRect.width),this.screen.resize(i,s),this.under.resize(i,s),this.image=new ImageData(i,s),this.sampled=this.underSampled="",this.paint()}}async load(e){this.fetching?.abort();let t=this.fetching=new AbortController;if(this.prior=null,this.underSampled="",e&&(this.announced=!1,this.sampled="",this.shown=null,this.group||(this.view.change({strokes:[],rulers:[]}),this.view.reset()),this.redraw()),!!this.src)try{if(this.shown||(this.message="Loading",this.shown=await ye(this.src,t.signal),this.marked=this.shown.synthetic),this.message="",this.redraw(),this.baseline){let i=await ye(this.baseline,t.signal);if(!(i.width===this.shown.width&&i.height===this.shown.height))throw new Error("Baseline and picture differ in size.");this.prior=i,this.redraw()}}catch(i){if(t.signal.aborted)return;this.message=i.message,this.dispatchEvent(new CustomEvent("rm-error",{bubbles:!0,composed:!0}))}}get ready(){return this.announced}size(){return{width:this.screen.width||1,height:this.screen.height||1,density:this.density}}picture(){return this.shown??{width:1,height:1}}placing(){if(!this.shown||!this.screen.width)return null;let{width:e,height:t}=this.shown,i=Math.min(this.screen.width/e,this.screen.height/t),s=this.view.scale??i,n=Math.round(this.screen.width/2-this.view.x*e*s),o=Math.round(this.screen.height/2-this.view.y*t*s);return{scale:s,left:n,top:o}}redraw(){this.frame||(this.frame=requestAnimationFrame(()=>this.paint()))}help(){this.renderRoot.querySelector("rm-bar")?.help(),this.dispatchEvent(new CustomEvent("rm-help",{bubbles:!0,composed:!0}))}say(e){clearTimeout(this.saying),this.saying=window.setTimeout(()=>this.words=e,400)}paint(){cancelAnimationFrame(this.frame),this.frame=0;let e=this.renderRoot.querySelector(".picture"),t=e?.getContext("2d",{alpha:!1,willReadFrequently:!0}),i=this.placing();if(!e||!t||!this.image)return;if(!i||!this.shown){t.fillRect(0,0,e.width,e.height);return}this.refresh(i,this.shown);let s=new Uint32Array(this.image.data.buffer),{view:n}=this,o=this.prior!==null,a=o?this.mode:"picture";if(o&&n.flicker)te(this.under,this.greys,s);else{let h=a==="swipe"?n.divider*this.screen.width:0,l=Math.round(h);l>0&&te(this.under,this.greys,s,0,l),te(this.screen,this.greys,s,l),a==="difference"&&Ze(this.screen,this.under,n.opacity,s)}t.putImageData(this.image,0,0),this.paintMarks(i,this.shown),this.finish()}get mode(){return this.show==="difference"?"difference":this.view.mode}refresh(e,t){let{view:i}=this,s=`${e.scale} ${e.left} ${e.top}`;this.sampled!==s&&(we(t,e,this.screen),this.sampled=s);let n=i.flicker||this.mode!=="picture";this.prior&&n&&this.underSampled!==s&&(we(this.prior,e,this.under),this.underSampled=s);let o=`${i.centre} ${i.width} ${i.invert}`;this.windowed!==o&&(Qe(i,this.greys),this.windowed=o)}paintMarks(e,t){let{view:i,density:s}=this,o=i.tool==="brush"||i.tool==="erase"||i.tool==="ruler"?this.hands.cross:null,a={picture:t,placing:e,view:i,density:s,cross:o},[,h,l]=this.renderRoot.querySelectorAll("canvas");Ke(h,a),Fe(l,a);let d=this.renderRoot.querySelector(".numbers"),c=b=>`${Math.round(100*b)}`,u=(100*e.scale).toFixed(e.scale<.1?1:0);d.textContent=`W ${c(i.width)}  L ${c(i.centre)}  ${u} %`;let f=this.renderRoot.querySelector(".label"),g=i.flicker&&this.prior!==null;f&&(f.textContent=g?"Baseline":this.label),this.renderRoot.querySelector(".mark")?.toggleAttribute("hidden",g&&!this.prior.synthetic)}finish(){this.announced||(this.announced=!0,this.dispatchEvent(new CustomEvent("rm-ready",{bubbles:!0,composed:!0})))}down=e=>{let t=e.currentTarget;t.focus({preventScroll:!0}),t.setPointerCapture(e.pointerId),e.preventDefault(),this.hands.down(e)};key=e=>{this.hands.key(e)&&(e.preventDefault(),e.stopPropagation())};render(){let e=this.hands;return m`<div
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
        ${this.label?m`<div class="corner label"></div>`:p}
        ${this.synthetic||this.marked?m`<div class="corner mark">SYNTHETIC</div>`:p}
        <div class="corner numbers" aria-hidden="true"></div>
        <p class="message" role="status">${this.message}</p>
      </div>
      <div class="hidden" id="how">Press the question mark for the keys.</div>
      <div class="hidden" role="status" aria-live="polite">${this.words}</div>
      ${this.bar==="none"?p:m`<rm-bar .view=${this.view} ?brush=${this.brush} ?compare=${!!this.baseline}></rm-bar>`}`}};customElements.define("rm-viewer",$e);export{m as a,p as b,y as c,q as d,li as e,ci as f,$e as g};
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
